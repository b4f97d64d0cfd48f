"""How the documentation is built: ``make docs``, warnings as errors, no network.

What belongs here: Sphinx's settings, and how this package's names and values are shown. What does not: text.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any, is_typeddict

import msgspec
from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trio_stream
import trio_stream.testing
import trio_stream.transport
import trio_stream.types
import trio_stream.web
from docs.value_lists import expand

project = "trio-stream"
author = "the trio-stream contributors"
project_copyright = author
version = release = trio_stream.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # `Name` in a docstring is a reference
add_module_names = False
autodoc_member_order = "bysource"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore_regex = [
    # The documentation of others: no inventory is fetched, so that the build needs no network.
    (
        r"py:.*",
        r"(trio|httpx|ssl|starlette|msgspec|collections\.abc|contextlib|datetime|math|opentelemetry|os|pathlib|typing)(\..*)?",
    ),
    # What is public only as the type of something.
    (
        r"py:.*",
        r"(.*\.)?(AccessTokenLike|Application|AsyncBaseTransport|AsyncClient|BeforeStart|CacheDuration|Check|Emit|EventT_co|FanOutOptions|Fault|Index|OnEvent|OutputT_co|Request|Serving|Source|StartedItem|Status|T|ToolListener|TagT|Timeout|Toolset|Unpack|ValueT|(Beta)?(Batch|BatchCreate|BatchList|Count|Message)Call)",
    ),
]

html_theme = "furo"
html_title = "trio-stream"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

PUBLIC = {
    name: f"{module.__name__}.{name}"
    for module in (trio_stream.web, trio_stream.testing, trio_stream.types, trio_stream.transport, trio_stream)
    for name in vars(module)
    if not name.startswith("_")
}
"""Where each public name is documented: the last module in this list that has it."""

PRIVATE = ("trio_stream._client", "trio_stream._protocol._blocks", "trio_stream._protocol._values")
"""Where that is documented which is public only as the base of something."""

MADE_BY_THE_LIBRARY = {
    "AttemptStart",
    "BatchResults",
    "Beta",
    "BetaBatches",
    "BetaMessages",
    "Call",
    "EventStream",
    "Frames",
    "Headers",
    "JobInfo",
    "LiveCall",
    "LiveModel",
    "LiveSnapshot",
    "MessageBatchPage",
    "MessageBatchPages",
    "MessageStream",
    "MessageStreamManager",
    "Messages",
    "Output",
    "PieceView",
    "RecordedHeaders",
    "RecordedRequest",
    "ResponseInfo",
    "Run",
    "Server",
    "TextChunks",
    "ToolCall",
    "trio_stream._client.Batches",  # the test kit has one of that name, with arguments
}
"""Classes whose arguments are nobody's business."""

EVENTS = {
    "BatchResults": "MessageBatchIndividualResponse",
    "EventStream": "RawMessageStreamEvent",
    "MessageStream": "MessageStreamEvent",
}


def resolve_short_name(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: Any) -> Any:
    """Find `Name` and `Name.member` wherever in the package they are written."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    first, dot, rest = str(node["reftarget"]).rpartition("trio_stream.")[2].partition(".")
    if first.startswith("_"):
        # A private module: what counts is the name behind it.
        first, dot, rest = str(node["reftarget"]).rpartition(".")[2], "", ""
    for place in (PUBLIC.get(first, ""), *(f"{module}.{first}" for module in PRIVATE)):
        target = place + dot + rest
        if target in domain.objects:
            found = domain.objects[target]
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, contnode, target)
    return None


def expand_unions(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put the members of unions where the pages name the union."""
    source[0] = expand(source[0])


def link_names(app: Sphinx, doctree: Any) -> None:
    """Make references of names in the text, so that the pages need no roles and read well as they are."""
    for literal in list(doctree.findall(nodes.literal)):
        first, dot, rest = literal.astext().partition(".")
        is_free = not isinstance(literal.parent, (nodes.title, nodes.reference, addnodes.pending_xref))
        if is_free and first in PUBLIC and (first[0].isupper() or "_" in first):
            target = PUBLIC[first] + dot + rest
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refdoc=app.env.docname, refwarn=True
            )
            literal.replace_self(reference)
            reference += literal


def show_signature(
    _app: Sphinx, what: str, name: str, obj: Any, _options: Any, args: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Show values with the annotations as they are written, and hide arguments that are nobody's business."""
    kind = name.rpartition(".")[2]
    if what == "class" and not MADE_BY_THE_LIBRARY.isdisjoint({kind, name}):
        return "", None
    if what == "class" and inspect.isclass(obj) and issubclass(obj, msgspec.Struct):
        return struct_signature(obj), None
    if what == "class" and is_typeddict(obj):
        return typed_dict_signature(obj), None
    if returns is not None and "EventT_co" in returns:
        returns = EVENTS[name.split(".")[-2]]
    # A default that is not an expression ("<the client's>") would spoil the whole signature.
    return None if args is None else re.sub(r"<[^<>]*>", "...", args), returns


def struct_signature(struct: type[msgspec.Struct]) -> str:
    """The fields a Struct itself has; those of its bases are shown there."""
    own = inspect.get_annotations(struct)
    parameters = inspect.signature(struct).parameters
    shown: list[str] = []
    for field in msgspec.structs.fields(struct):
        if field.name not in own or field.name.startswith("_"):
            continue
        if parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if field.required else " = ..."
        if field.default is not msgspec.NODEFAULT and not isinstance(field.default, msgspec.Struct):
            default = f" = {field.default!r}"
        shown.append(f"{field.name}: {own[field.name]}{default}")
    return f"({', '.join(shown)})" if shown else ""


def typed_dict_signature(kind: Any) -> str:
    """The keys of a typed dict, those it must have first and those it may have with ``= ...``."""
    required: list[str] = []
    optional: list[str] = []
    for name, annotation in kind.__annotations__.items():
        text = str(getattr(annotation, "__forward_arg__", annotation))
        # `Required` is not seen at run time where annotations are strings.
        if text.startswith("Required["):
            required.append(f"{name}: {text[len('Required[') : -1]}")
        elif name in kind.__required_keys__ and not text.startswith("NotRequired["):
            required.append(f"{name}: {text}")
        else:
            optional.append(f"{name}: {text.removeprefix('NotRequired[')} = ...")
    return f"(*, {', '.join(required + optional)})"


def prepare_docstring(_app: Sphinx, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Called before napoleon."""
    if what == "module":
        lines.clear()  # what belongs into a module is for those who work on it
    elif what in ("attribute", "data", "property"):
        lines.insert(0, "")  # else "Something: and more" is taken for a type and its description


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    for name, module in list(sys.modules.items()):
        for value in vars(module).values() if name.startswith("trio_stream.") else ():
            if is_typeddict(value):
                # Sphinx 9.0 cannot make out the signature of a typed dict; `show_signature` makes the real one.
                value.__signature__ = inspect.Signature()
    app.connect("source-read", expand_unions)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", resolve_short_name)
    app.connect("autodoc-process-signature", show_signature)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
