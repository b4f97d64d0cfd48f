"""`Parameters`: a function's signature and docstring as a schema, and JSON as its arguments."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
import pydantic
import pytest

from trio_stream._schemas import MismatchError, Parameters

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


@dataclasses.dataclass
class Range:
    first: int
    last: int = 9


class Order(pydantic.BaseModel):
    due: datetime.date


class Context:
    pass


class Depends(Generic[T]):
    pass


async def search(
    query: str,
    ctx: Context,
    limit: int = 5,
    *,
    range_: Range | None = None,
    tags: dict[str, int] = {},  # noqa: B006
) -> str:
    """Search the web.

    It takes a while.

    Args:
      query: What to look for:
        a few words.

        And more.
      limit (int): How many
        results.
      *rest: Not there.
      something else

    Returns:
      limit: not this one.
    """
    return query


def test_a_function() -> None:
    """Its parameters are the properties of an object that takes no others."""
    parameters = Parameters(search, skip=[Context])
    assert parameters.name == "search"
    assert parameters.description == "Search the web.\n\nIt takes a while."
    assert parameters.context_name == "ctx"
    assert parameters.schema == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for: a few words. And more."},
            "limit": {"type": "integer", "description": "How many results.", "default": 5},
            "range_": {"anyOf": [{"$ref": "#/$defs/Range"}, {"type": "null"}], "default": None},
            "tags": {"type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
        },
        "required": ["query"],
        "additionalProperties": False,
        "$defs": {
            "Range": {
                "title": "Range",
                "type": "object",
                "properties": {"first": {"type": "integer"}, "last": {"type": "integer", "default": 9}},
                "required": ["first"],
            }
        },
    }


def test_arguments() -> None:
    """Those that the JSON has, as values of their types; for the others the function has defaults."""
    parameters = Parameters(search, skip={Context})
    assert parameters.decode('{"query": "a"}') == {"query": "a"}
    assert parameters.decode(b'{"query": "a", "range_": {"first": 1}, "tags": {"x": 1}}') == {
        "query": "a",
        "range_": Range(1),
        "tags": {"x": 1},
    }


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("", "", "object missing required field `query`"),
        ('{"query": 1}', "query", "`query`: expected `str`, got `int`"),
        ('{"query": "a", "limt": 1}', "", "object contains unknown field `limt`"),
        ('{"query": "a", "range_": {"first": "x"}}', "range_.first", "`range_.first`: expected `int`"),
        ('{"query": "a", "tags": {"a": "b"}}', "tags[...]", "`tags[...]`: expected `int`, got `str`"),
        ("[]", "", "expected `object`, got `array`"),
        ('{"query": "a', None, "this is not valid JSON: it ends too early"),
    ],
)
def test_arguments_that_do_not_fit(text: str, path: str | None, says: str) -> None:
    """It is said where, for the model to mend it."""
    with pytest.raises(MismatchError) as caught:
        Parameters(search, skip=[Context]).decode(text)
    assert caught.value.path == path
    assert says in str(caught.value)


def test_keys_that_do_not_fit() -> None:
    """They are told apart from values."""

    def count(numbers: dict[int, int]) -> None: ...

    with pytest.raises(MismatchError, match="`numbers`: one of its keys does not fit: expected `int`, got `str`"):
        Parameters(count).decode('{"numbers": {"x": 1}}')
    assert Parameters(count).decode('{"numbers": {"1": 1}}') == {"numbers": {1: 1}}


def test_a_strict_schema() -> None:
    """It has the API's form: everything is required, and free keys are refused."""

    def find(query: str, limit: Annotated[int, msgspec.Meta(ge=1)] = 5) -> None:
        """Find."""

    strict = Parameters(find, strict=True)
    assert strict.schema["required"] == ["query", "limit"]
    assert strict.schema["properties"]["limit"] == {"type": "integer", "description": "{minimum: 1, default: 5}"}
    with pytest.raises(TypeError, match=r"search\(\) cannot have a strict schema: \$.tags is an object whose keys"):
        Parameters(search, strict=True, skip=[Context])


def test_pydantic_models_as_parameters() -> None:
    """pydantic decodes them."""

    def place(order: Order, others: list[Order]) -> None: ...

    arguments = Parameters(place).decode('{"order": {"due": "2026-11-28"}, "others": []}')
    assert arguments == {"order": Order(due=datetime.date(2026, 11, 28)), "others": []}
    with pytest.raises(MismatchError, match=r"`others\[0\].due`: field required"):
        Parameters(place).decode('{"order": {"due": "2026-11-28"}, "others": [{}]}')


class Tools:
    """Not this one."""

    def method(self, a: int) -> None:
        """A method."""

    def __call__(self, b: Depends[int], c: int) -> None:
        """What a call does."""


def test_other_callables() -> None:
    """Methods, partial functions, objects that can be called, and functions without a docstring."""
    method = Parameters(Tools().method)
    assert (method.name, method.description, list(method.schema["properties"])) == ("method", "A method.", ["a"])
    partial = Parameters(functools.partial(search, "fixed", Context()))
    assert partial.name == "search"
    assert list(partial.schema["properties"]) == ["limit", "range_", "tags"]
    called = Parameters(Tools(), skip=[Depends])
    assert (called.name, called.context_name, list(called.schema["properties"])) == ("Tools", "b", ["c"])

    def bare() -> None: ...

    nothing = Parameters(bare)
    assert nothing.description == ""
    assert nothing.schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert nothing.decode("") == nothing.decode(" {} ") == {}


def test_functions_that_no_model_can_call() -> None:
    """It is said which parameter is the reason."""

    def unannotated(a): ...  # type: ignore[no-untyped-def]

    def free(**rest: int) -> None: ...

    def many(*rest: int) -> None: ...

    def positional(a: int, /) -> None: ...

    def odd(a: complex) -> None: ...

    def twice(a: Context, b: Context) -> None: ...

    def hidden(a: Path) -> None: ...

    for function, says in [
        (unannotated, "the parameter 'a' of unannotated() has no annotation"),
        (free, "the parameter '**rest' of free() has no name to be given by"),
        (many, "the parameter '*rest' of many() has no name to be given by"),
        (positional, "the parameter 'a' of positional() has no name to be given by"),
        (odd, "the parameter 'a' of odd(): <class 'complex'> is not a type that JSON can be decoded into"),
        (twice, "twice() has two parameters of one type that the model does not fill in"),
        (hidden, "hidden() has an annotation that names what its module does not have: name 'Path' is not defined"),
    ]:
        with pytest.raises(TypeError) as caught:
            Parameters(function, skip=[Context])
        assert says in str(caught.value)


def test_a_default_that_is_no_json() -> None:
    """It is the function's, and not told."""

    def f(a: int = object()) -> None: ...  # type: ignore[assignment]

    schema: Any = Parameters(f).schema
    assert schema["properties"] == {"a": {"type": "integer"}}
    assert schema["required"] == []
