"""`OutputType`: the schema of a type in the form of the API, and values of it."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from trio_stream._schemas import MismatchError, OutputType, ask_for_output, output_type
from trio_stream.testing._strict import find_fault

T = TypeVar("T")

JSON = dict[str, Any]


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclasses.dataclass
class Point:
    x: int
    y: Annotated[int, msgspec.Meta(ge=1, le=9, description="Upwards.")] = 3


class Place(NamedTuple):
    lat: float
    lon: float
    name: str = "?"


class Options(TypedDict):
    a: int
    b: NotRequired[str]


class Line(msgspec.Struct, tag=True):
    """From a point
    to another.
    """

    start: Point
    end: Point | None = None


class Dot(msgspec.Struct, tag="dot"):
    at: Point


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Renamed(msgspec.Struct, rename="camel"):
    first_name: str


class Row(msgspec.Struct, array_like=True, tag=True):
    key: str
    number: int


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int


class Made(msgspec.Struct):
    """Fields whose value the program makes when the answer has none."""

    id: uuid.UUID = msgspec.field(default_factory=uuid.uuid4)
    tags: list[str] = []
    unset: int | msgspec.UnsetType = msgspec.UNSET
    place: Place = Place(1, 2, "x")


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(3, ge=1)
    days: list[datetime.date]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    inner: Model


class Pet(pydantic.BaseModel):
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


class Holder(msgspec.Struct):
    model: Model
    pets: list[Pet]


def properties(type_: Any) -> JSON:
    schema = OutputType(type_).schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    return schema["properties"]


def holding(type_: Any) -> JSON:
    """The schema of a type as that of a field."""
    return properties(msgspec.defstruct("Holding", [("field", type_)]))["field"]


@pytest.mark.parametrize(
    ("type_", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Literal["a", 1], {"enum": [1, "a"]}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.time, {"type": "string", "format": "time"}),
        (datetime.timedelta, {"type": "string", "format": "duration"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (decimal.Decimal, {"type": "string", "description": '{format: "decimal"}'}),
        (bytes, {"type": "string", "description": '{contentEncoding: "base64"}'}),
        (
            Annotated[str, msgspec.Meta(min_length=1, pattern="a+", description="As.")],
            {"type": "string", "description": 'As.\n\n{minLength: 1, pattern: "a+"}'},
        ),
        (
            Annotated[float, msgspec.Meta(gt=0, lt=1)],
            {"type": "number", "description": "{exclusiveMinimum: 0, exclusiveMaximum: 1}"},
        ),
        (
            Annotated[list[int], msgspec.Meta(min_length=1)],
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        ),
        (
            Annotated[list[int], msgspec.Meta(min_length=2, max_length=3)],
            {"type": "array", "items": {"type": "integer"}, "description": "{minItems: 2, maxItems: 3}"},
        ),
        (
            tuple[int, int],
            {
                "type": "array",
                "items": {"type": "integer"},
                "description": '{minItems: 2, maxItems: 2, items in this order: ["integer","integer"]}',
            },
        ),
        (
            tuple[int, str],
            {
                "type": "array",
                "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "description": '{minItems: 2, maxItems: 2, items in this order: ["integer","string"]}',
            },
        ),
    ],
)
def test_plain_types(type_: Any, schema: JSON) -> None:
    """The API takes little of JSON Schema: the rest is told in the description."""
    assert holding(type_) == schema


def test_a_dataclass() -> None:
    """Every field is required, also one with a default, which the description tells; the made docstring is not told."""
    assert OutputType(Point).schema == {
        "title": "Point",
        "type": "object",
        "properties": {
            "x": {"type": "integer"},
            "y": {"type": "integer", "description": "Upwards.\n\n{minimum: 1, maximum: 9, default: 3}"},
        },
        "required": ["x", "y"],
        "additionalProperties": False,
    }
    assert OutputType(Point).decode('{"x": 1}') == Point(1, 3)


def test_what_may_be_absent_stays_optional() -> None:
    """A key of a TypedDict that is not required; a field that may be unset, or whose value the program makes."""
    assert OutputType(Options).schema["required"] == ["a"]
    assert OutputType(Made).schema["required"] == ["tags", "place"]
    assert OutputType(Made).decode("{}").tags == []


def test_a_named_tuple() -> None:
    """The names of its places are told."""
    schema = OutputType(Place).schema
    assert schema["type"] == "array"
    assert schema["description"] == '{minItems: 2, maxItems: 3, items in this order: ["lat","lon","name"]}'
    assert OutputType(Place).decode("[1, 2]") == Place(1, 2)


def test_unions_of_tagged_structs() -> None:
    """The tag is a property with one value."""
    output: OutputType[Any] = OutputType(list[Line | Dot])
    definitions = output.schema["$defs"]
    assert output.schema["items"] == {"anyOf": [{"$ref": "#/$defs/Line"}, {"$ref": "#/$defs/Dot"}]}
    assert definitions["Line"]["description"] == "From a point\nto another."
    assert definitions["Line"]["properties"]["type"] == {"const": "Line"}
    assert definitions["Dot"]["properties"]["type"] == {"const": "dot"}
    assert output.decode('[{"type": "dot", "at": {"x": 1, "y": 2}}]') == [Dot(Point(1, 2))]


def test_more_kinds_of_structs() -> None:
    """Generic, renamed, array-like and closed ones."""
    assert OutputType(Page[int]).schema["properties"]["items"] == {"type": "array", "items": {"type": "integer"}}
    both = OutputType(msgspec.defstruct("B", [("a", Page[int]), ("b", Page[str])])).schema["$defs"]
    assert set(both) == {"Page_int_", "Page_str_"}
    assert list(properties(Renamed)) == ["firstName"]
    row = OutputType(Row).schema
    assert row["description"] == '{minItems: 3, maxItems: 3, items in this order: ["value","key","number"]}'
    assert OutputType(Row).decode('["Row", "k", 1]') == Row("k", 1)
    assert OutputType(Strict).schema["additionalProperties"] is False


def test_enums() -> None:
    """They are the values of their members, defined once."""
    schema = OutputType(msgspec.defstruct("E", [("a", Colour), ("b", Colour | None)])).schema
    assert schema["$defs"] == {"Colour": {"title": "Colour", "enum": ["red", "green"]}}
    assert schema["properties"]["b"] == {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}]}


def test_what_is_said_of_a_field_stands_beside_no_reference() -> None:
    """The API takes nothing beside a reference, so that the definition is repeated there."""
    field = holding(Annotated[Point, msgspec.Meta(description="Where.")])
    assert field["description"] == "Where."
    assert list(field["properties"]) == ["x", "y"]
    assert holding(Point) == {"$ref": "#/$defs/Point"}


def test_two_classes_of_one_name() -> None:
    """Each has a definition of its own."""
    one, two = (msgspec.defstruct("Same", [(name, int)]) for name in "ab")
    definitions = OutputType(msgspec.defstruct("Both", [("one", one), ("two", two)])).schema["$defs"]
    assert {name: list(value["properties"]) for name, value in definitions.items()} == {"Same": ["a"], "Same_2": ["b"]}


class Node(msgspec.Struct):
    children: list[Node]


class Anything(msgspec.Struct):
    value: Any


class Free(msgspec.Struct):
    inner: list[dict[str, int]]


class Tree(pydantic.BaseModel):
    children: list[Tree]


class Open(pydantic.BaseModel):
    extra: dict[str, int]


class Keyed(TypedDict):
    counts: dict[str, int]


class Thing:
    pass


@pytest.mark.parametrize(
    ("type_", "says"),
    [
        (dict[str, int], "dict[str, int] cannot be asked for: $ is an object whose keys are not known before"),
        (Free, "Free cannot be asked for: $.inner[] is an object whose keys are not known before"),
        (Keyed, "Keyed cannot be asked for: $.counts is an object whose keys are not known before"),
        (Open, "Open cannot be asked for: $.extra is an object whose keys are not known before"),
        (dict, "dict cannot be asked for: $ is an object whose keys are not known before"),
        (Anything, "Anything cannot be asked for: $.value may be anything"),
        (list, "list cannot be asked for: $[] may be anything"),
        (Node, "Node cannot be asked for: Node.children[] refers to the type that it is part of"),
        (Tree, "Tree cannot be asked for: Tree.children[] refers to the type that it is part of"),
        (Thing, "Thing'> is not a type that JSON can be decoded into"),
        (list[Thing], "Thing'> is not a type that JSON can be decoded into"),
        (msgspec.msgpack.Ext, "there is no JSON for Ext"),
    ],
)
def test_types_that_cannot_be_asked_for(type_: Any, says: str) -> None:
    """It is said at once, with the place."""
    with pytest.raises(TypeError) as caught:
        output_type(type_)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "type_",
    [Point, list[Line | Dot], Place, Model, Pet, Holder, Cat | Dog, list[Cat | Dog], str],
)
def test_the_scripted_api_takes_the_schemas(type_: Any) -> None:
    """It is as strict as the API."""
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": OutputType(type_).schema}},
    }
    assert find_fault(body) is None


def test_pydantic_models() -> None:
    """Their constraints are told too, and pydantic decodes them."""
    output = OutputType(Model)
    assert output.schema["properties"]["n"] == {
        "title": "N",
        "type": "integer",
        "description": "{default: 3, minimum: 1}",
    }
    assert output.schema["required"] == ["n", "days"]
    assert output.decode('{"days": ["2026-11-28"]}') == Model(n=3, days=[datetime.date(2026, 11, 28)])
    pet = OutputType(Pet).schema["properties"]["pet"]
    assert pet["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert "discriminator" not in pet
    either: OutputType[Any] = OutputType(list[Cat | Dog])
    assert either.decode('[{"kind": "cat"}]') == [Cat(kind="cat")]


def test_pydantic_models_within_others() -> None:
    """Each decodes what is its own."""
    output = OutputType(Holder)
    assert set(output.schema["$defs"]) == {"Pet.Cat", "Pet.Dog", "Pet.Model"}
    value = output.decode('{"model": {"days": []}, "pets": [{"pet": {"kind": "cat"}}]}')
    assert value == Holder(Model(days=[]), [Pet(pet=Cat(kind="cat"))])


def test_pydantic_models_without_a_schema() -> None:
    """It is said why."""

    class Called(pydantic.BaseModel):
        function: Callable[[], int]

    with pytest.raises(TypeError, match="Cannot generate a JsonSchema"):
        OutputType(Called)


def test_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what msgspec does not take is taken by nobody."""
    monkeypatch.delitem(sys.modules, "pydantic")
    with pytest.raises(TypeError, match="may not contain any additional types"):
        OutputType(int | Thing)


def test_pydantic_is_not_imported() -> None:
    """Whoever has a model has done that."""
    code = (
        "import sys, dataclasses, trio_stream._schemas as s\n"
        "@dataclasses.dataclass\nclass P:\n    x: int\n"
        "s.OutputType(P).decode('{\"x\": 1}')\n"
        "try: s.OutputType(P | complex)\nexcept TypeError as error: print(error)\n"
        "print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    says, imported = done.stdout.strip().splitlines()
    assert "complex" in says
    assert imported == "False"


@pytest.mark.parametrize(
    ("type_", "text", "path", "says"),
    [
        (Point, '{"x": "1"}', "x", "this does not fit the schema: `x`: expected `int`, got `str`"),
        (list[Line], '[{"type": "Line"}]', "[0]", "`[0]`: object missing required field `start`"),
        (
            list[Line],
            '[{"type": "Line", "start": {"x": 1, "y": 0}}]',
            "[0].start.y",
            "`[0].start.y`: expected `int` >= 1",
        ),
        (Colour, '"blue"', "", "this does not fit the schema: invalid enum value 'blue'"),
        (Strict, '{"a": 1, "b": 2}', "", "object contains unknown field `b`"),
        (Point, '{"x": 1', None, "this is not valid JSON: it ends too early"),
        (Point, " ", None, "this is not valid JSON: it is empty"),
        (Point, "{x}", None, "this is not valid JSON: "),
        (Line, '{"type": ' + "[" * 100_000, None, "this is not valid JSON: it is nested too deeply"),
        (
            Model,
            '{"days": ["x"], "n": 0}',
            "n",
            "`n`: input should be greater than or equal to 1; `days[0]`: input should be",
        ),
        (Model, "{", None, "this is not valid JSON: EOF"),
        (Holder, '{"model": {"days": ["x"]}}', "model.days[0]", "`model.days[0]`: input should be"),
        (list[Model], '[{"days": []}, {}]', "[1].days", "`[1].days`: field required"),
        (list[Holder], '[{"model": [], "pets": []}]', "[0].model", "`[0].model`: input should be"),
    ],
)
def test_faults_say_where(type_: Any, text: str, path: str | None, says: str) -> None:
    """In a sentence that a model can act on."""
    with pytest.raises(MismatchError) as caught:
        OutputType(type_).decode(text)
    assert caught.value.path == path
    assert says in str(caught.value)


def test_many_faults() -> None:
    """Five are told, and how many more there are."""
    days = ", ".join(["1.5"] * 8)
    with pytest.raises(MismatchError, match=r"; and 3 more$"):
        OutputType(Model).decode(f'{{"days": [{days}]}}')


def test_a_half_of_a_surrogate_pair() -> None:
    """It becomes U+FFFD, as everywhere; also where it is not escaped."""
    assert OutputType(str).decode('"\\ud83d"') == "\ufffd"
    assert OutputType(str).decode('"\ud83d"') == "?"


def test_the_same_type_again() -> None:
    """It is made once; an `OutputType` is taken as it is; and what has no hash is made each time."""
    assert output_type(Point) is output_type(Point)
    assert output_type(output_type(Point)) is output_type(Point)
    unhashable: Any = Annotated[int, {"a": []}]
    assert output_type(unhashable).schema == {"type": "integer"}


def test_asking_twice_for_a_format() -> None:
    """Nobody could say which of the two counts."""
    output = OutputType(int)
    asked = ask_for_output({"output_config": {"effort": "low"}}, output)
    assert asked["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": output.schema}}
    with pytest.raises(TypeError, match=r"output_config\.format both say"):
        ask_for_output(asked, output)
