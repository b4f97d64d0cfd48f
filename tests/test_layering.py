"""The house rules that a program can check: layers, forbidden constructs, module size, first comments."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).parent.parent / "trio_stream"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the bottom to the top. A room imports only rooms below it (and itself).
ROOMS = [
    "_version",
    "_errors",
    "_protocol",
    "types",
    "_http",
    "_stream",
    "_client",
    "batch",
    "trio_stream",
    "testing",
    "ray",
    "cli",
]

# What a room may import from outside the standard library.
OUTSIDE = {
    "_version": set[str](),
    "_errors": {"trio"},
    "_protocol": {"msgspec"},
    "types": set[str](),
    "_http": {"trio", "httpx", "httptools", "msgspec"},
    "_stream": {"trio", "msgspec"},
    "_client": {"trio", "msgspec"},
    "batch": {"trio", "msgspec"},
    "trio_stream": {"trio", "msgspec"},
    "testing": {"trio", "httptools", "msgspec"},
    "ray": {"trio", "msgspec", "ray"},
    "cli": {"trio", "msgspec", "rich", "click"},
}


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return "trio_stream" if part == "__init__.py" else part.removesuffix(".py")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> list[str]:
    """The modules a file imports when it runs: absolute names, without what is under TYPE_CHECKING."""
    found: list[str] = []
    package = ["trio_stream", *path.relative_to(PACKAGE).parts[:-1]]

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if "TYPE_CHECKING" not in ast.dump(node.test):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.extend(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found.append(module)
            if module == "trio_stream":
                found.extend(f"trio_stream.{alias.name}" for alias in node.names)

    Visitor().visit(ast.parse(path.read_text()))
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers_import_downwards_only(path):
    room = room_of(path)
    height = ROOMS.index(room)
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "trio_stream":
            if parts[0] not in sys.stdlib_module_names:
                assert parts[0] in OUTSIDE[room], f"{room} must not import {module}"
            continue
        if len(parts) == 1 or f"{parts[1]}.py" not in {p.name for p in PACKAGE.iterdir()} | {
            f"{p.name}.py" for p in PACKAGE.iterdir() if p.is_dir()
        }:
            target = "trio_stream"
        else:
            target = parts[1]
        assert ROOMS.index(target) <= height, f"{room} is below {target}, and imports it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_belongs_in_it(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "the first thing in a module says what belongs in it"
    assert len(text.splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_async_generators(path):
    """Nobody closes them under Trio (PEP 789)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.AsyncFunctionDef):
            own = [
                child
                for child in ast.walk(node)
                if isinstance(child, (ast.Yield, ast.YieldFrom))
                and not any(
                    child in ast.walk(inner)
                    for inner in ast.walk(node)
                    if inner is not node and isinstance(inner, (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef))
                )
            ]
            assert not own, f"{node.name} is an async generator"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_cancel_has_a_reason(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if is_call_of(node, "cancel") and not node.args:
            assert [keyword.arg for keyword in node.keywords] == ["reason"], f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_shield_without_a_deadline(path):
    """A shielded scope has a deadline, or is cancelled by its first statement."""
    tree = ast.parse(path.read_text())
    bounded = {
        item.context_expr
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and isinstance(node.body[0], ast.Expr)
        and is_call_of(node.body[0].value, "cancel")
        for item in node.items
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and any(keyword.arg == "shield" for keyword in node.keywords):
            assert node in bounded or any(keyword.arg == "deadline" for keyword in node.keywords), f"line {node.lineno}"


def is_call_of(node: ast.AST, method: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def test_the_package_imports_no_more_than_it_needs():
    """Importing it loads neither the test kit, nor the command line, nor what fits it into other systems."""
    rooms = ("trio_stream.testing", "trio_stream.cli", "trio_stream.ray")
    code = f"import sys, trio_stream; print([m for m in sys.modules if m.startswith({rooms})])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
