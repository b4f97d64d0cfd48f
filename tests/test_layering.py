"""The house rules that a program can check: layers, forbidden constructs, module size, first comments."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).parent.parent / "trio_stream"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the bottom to the top: the ground, the rooms, and what stands beside them. A room imports only rooms below it.
ROOMS = [
    "_version",
    "_hidden",
    "_runs",
    "_generators",
    "_nursery",
    "_timeouts",
    "_limits",
    "_response",
    "_stats",
    "_errors",
    "_protocol",
    "types",
    "_schemas",
    "_money",
    "_limiter",
    "_instruments",
    "_http",
    "transport",
    "_stream",
    "_client",
    "batch",
    "_live",
    "agent",
    "trio_stream",
    "testing",
    "otel",
    "ray",
    "web",
    "blocking",
    "cli",
]

# What a room may import from outside the standard library.
OUTSIDE = {
    "_version": set[str](),
    "_hidden": set[str](),
    "_errors": {"trio"},
    "_runs": {"trio"},
    "_generators": {"trio"},
    "_nursery": {"trio"},
    "_timeouts": {"msgspec"},
    "_limits": {"msgspec"},
    "_response": {"msgspec"},
    "_stats": {"msgspec"},
    "_protocol": {"msgspec"},
    "types": set[str](),
    "_schemas": {"msgspec"},
    "_money": {"msgspec"},
    "_limiter": {"trio", "msgspec"},
    "_instruments": {"trio", "msgspec"},
    "_http": {"trio", "httpx", "httptools", "msgspec"},
    "transport": set[str](),
    "_stream": {"trio", "msgspec", "typing_extensions"},  # for type checkers alone: a TypeVar with a default
    "_client": {"trio", "msgspec"},
    "batch": {"trio", "msgspec", "typing_extensions"},  # the same
    "_live": {"trio", "msgspec"},
    "agent": {"trio", "msgspec", "mcp", "mcp_types"},  # an extra, as a test below sees to
    "trio_stream": {"trio", "msgspec"},
    "testing": {"trio", "httptools", "msgspec"},
    "otel": {"msgspec", "opentelemetry"},  # an extra
    "ray": {"trio", "msgspec", "ray"},
    "web": {"trio", "msgspec", "starlette", "quart"},  # each in the module that is for it, as a test below sees to
    "blocking": {"trio", "typing_extensions"},  # for type checkers alone: a TypeVar with a default
    "cli": {"click", "hypercorn", "matplotlib", "mcp", "msgspec", "prompt_toolkit", "pyarrow", "rich", "trio"},
}

# Arrows up that are right, each with its reason. They exist for type checkers alone.
RIGHT = {
    ("_errors.py", "trio_stream._protocol"): (
        "an error carries the `Message` as far as it came and the `RateLimits` of its answer; and reading a value may "
        "raise an error (`ToolUseBlock.input`), so whichever of the two stands lower, its types name the other's"
    ),
}

# Rooms whose modules may be imported one by one: names for annotations are many, and a face with all of them helps
# nobody. What other rooms use is in the face of `_protocol`; `types` alone takes the rest from the modules.
OPEN_TO = {"_protocol": {"types"}}

# Second faces: of what needs an extra, which the face of the room must not import.
MORE_FACES = {"trio_stream.agent.mcp", "trio_stream.web.fastapi", "trio_stream.web.quart"}


def room_of(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return "trio_stream" if part == "__init__.py" else part.removesuffix(".py")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of_module(module: str) -> str:
    """The room that an absolute name of this package stands in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "trio_stream"


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree, for which each test would take a walk of its own."""
    return list(ast.walk(ast.parse(path.read_text())))


@functools.cache
def imports(path: Path) -> list[str]:
    """The modules that a file imports, by their absolute names; TYPE_CHECKING and functions count."""
    found: list[str] = []
    package = ["trio_stream", *path.relative_to(PACKAGE).parts[:-1]]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            # `from package import module` imports the module; `from module import name` does not.
            below = [f"{module}.{alias.name}" for alias in node.names if file_of(f"{module}.{alias.name}")]
            found.extend(below)
            if len(below) < len(node.names):
                found.append(module)
    return found


def file_of(module: str) -> str | None:
    """The file of a module of this package."""
    parts = module.split(".")
    if parts[0] != "trio_stream":
        return None
    place = PACKAGE.joinpath(*parts[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if len(parts) > 1 and file.exists():
            return name_of(file)
    return "__init__.py" if len(parts) == 1 else None


def test_every_room_is_on_the_list():
    """And every name on it is a room."""
    assert {room_of(path) for path in MODULES} == set(ROOMS) == set(OUTSIDE)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_import_downwards_only(path):
    room = room_of(path)
    for module in imports(path):
        first = module.split(".")[0]
        if first != "trio_stream":
            assert first in sys.stdlib_module_names or first in OUTSIDE[room], f"{room} must not import {module}"
        elif (name_of(path), module) not in RIGHT:
            target = room_of_module(module)
            assert ROOMS.index(target) <= ROOMS.index(room), f"{room} is below {target}, and imports it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_are_entered_by_their_face(path):
    """From another room only what its ``__init__`` hands out is taken."""
    room = room_of(path)
    for module in imports(path):
        target = room_of_module(module)
        if (
            module.startswith("trio_stream.")
            and target not in (room, "trio_stream")
            and room not in OPEN_TO.get(target, ())
        ):
            face = module == f"trio_stream.{target}" or module in MORE_FACES
            assert face, f"{room} reaches past the face of {target}: {module}"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "agent"], ids=name_of)
def test_only_what_is_for_mcp_needs_its_package(path):
    """It is an extra."""
    if "mcp" not in path.stem:
        found = imports(path)
        assert not [module for module in found if module.split(".")[0] in ("mcp", "mcp_types") or "mcp" in module]


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "web"], ids=name_of)
def test_only_what_is_for_a_framework_needs_it(path):
    """A response is an ASGI application, for any of them."""
    if path.stem not in ("fastapi", "quart"):
        found = imports(path)
        frameworks = ("starlette", "quart", "trio_stream.web.fastapi", "trio_stream.web.quart")
        assert not [module for module in found if module.startswith(frameworks)]


def names_from(path: Path, module: str) -> set[str]:
    """The names that a file takes from a module."""
    return {
        alias.name
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module == module and not node.level
        for alias in node.names
    }


def test_the_face_of_protocol_is_what_other_rooms_use():
    """Nothing is handed out for the sake of completeness: `types` has the values."""
    face = PACKAGE / "_protocol" / "__init__.py"
    handed_out = {alias.asname for node in nodes(face) if isinstance(node, ast.ImportFrom) for alias in node.names}
    used = {
        name for path in MODULES if room_of(path) != "_protocol" for name in names_from(path, "trio_stream._protocol")
    }
    assert handed_out == used


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The sets of files that import one another, directly or through others (Tarjan's strongly connected parts)."""
    found: list[set[str]] = []
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(file: str) -> None:
        order[file] = low[file] = len(order)
        stack.append(file)
        for other in arrows[file]:
            if other not in order:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], order[other])
        if low[file] == order[file]:
            place = stack.index(file)
            circle = set(stack[place:])
            del stack[place:]
            if len(circle) > 1:
                found.append(circle)

    for file in arrows:
        if file not in order:
            visit(file)
    return found


def test_the_search_for_circles_finds_them():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_circles():
    """No two files import each other, whatever the way between them."""
    arrows = {
        name_of(path): {
            file
            for module in imports(path)
            if (file := file_of(module)) is not None and (name_of(path), module) not in RIGHT
        }
        for path in MODULES
    }
    assert circles(arrows) == []


def test_what_is_right_is_needed():
    """No exception to the rules outlives its reason."""
    found = {(name_of(path), module) for path in MODULES for module in imports(path)}
    assert set(RIGHT) <= found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_belongs_in_it(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "the first thing in a module says what belongs in it"
    assert len(text.splitlines()) <= 500


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_async_generators(path):
    """Nobody closes them under Trio (PEP 789)."""
    for node in nodes(path):
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
    for node in nodes(path):
        if is_call_of(node, "cancel") and not node.args:
            assert [keyword.arg for keyword in node.keywords] == ["reason"], f"line {node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_shield_without_a_deadline(path):
    """A shielded scope has a deadline, or is cancelled by its first statement."""
    bounded = {
        item.context_expr
        for node in nodes(path)
        if isinstance(node, ast.With)
        and isinstance(node.body[0], ast.Expr)
        and is_call_of(node.body[0].value, "cancel")
        for item in node.items
    }
    for node in nodes(path):
        if isinstance(node, ast.Call) and any(keyword.arg == "shield" for keyword in node.keywords):
            assert node in bounded or any(keyword.arg == "deadline" for keyword in node.keywords), f"line {node.lineno}"


def is_call_of(node: ast.AST, method: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def test_the_package_imports_no_more_than_it_needs():
    """Importing it loads neither the test kit, nor the command line, nor what fits it into other systems."""
    beside = ("testing", "cli", "ray", "transport", "otel", "web")
    rooms = tuple(f"trio_stream.{name}" for name in beside)
    code = f"import sys, trio_stream; print([m for m in sys.modules if m.startswith({rooms})])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
