"""Every payload in every format: results are made of their types' own annotations, so that a new one is covered too.

Whatever a function of `cli.*.payloads` takes is made up: each field has a value, each enum its members in turn, each
number and text something that JSON or YAML finds hard.
"""

import ast
import collections.abc
import importlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from lightragctl.bench.report.documents import Document
from lightragctl.cli.backup import payloads as backup
from lightragctl.cli.bench import payloads as bench
from lightragctl.cli.data import payloads as data
from lightragctl.cli.deploy import payloads as deploy
from lightragctl.cli.diagnose import payloads as diagnose
from lightragctl.cli.golden import payloads as golden
from lightragctl.cli.index import payloads as index
from lightragctl.cli.operations import payloads as operations
from lightragctl.cli.output import Format, Output
from lightragctl.cli.profiles import payloads as profiles
from lightragctl.cli.reembed import payloads as reembed
from lightragctl.cli.tool import payloads as tool
from lightragctl.cli.tune import payloads as tune
from lightragctl.cli.upgrade import payloads as upgrade
from lightragctl.cli.views import VIEWS
from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError
from lightragctl.core.findings import Severity
from lightragctl.core.plain import plain
from lightragctl.core.profile import LoadedProfile
from lightragctl.core.result import Event, Result
from lightragctl.core.serialize import json_text, yaml_text
from lightragctl.diagnose.check import Check, Found, all_checks
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import Diagnosed, Unseen
from lightragctl.quality.golden import FloorStatus, GoldenFigure
from lightragctl.quality.stats import Interval
from lightragctl.release.profiles import load_profile, make_plan
from tests.fakes.saved_run import RUN
from tests.fakes.saved_series import COMPARED, SEARCH

TEXT = "a: 知识\n'x' # no"
LOADED = load_profile("local")
OBJECT = {"kind": "Service", "metadata": {"name": "x"}}
CHECKS = all_checks()
FOUND = Found("LR101", TEXT, TEXT, TEXT, severity=Severity.ERROR, evidence=(TEXT,), component=TEXT)
DIAGNOSED = Diagnosed((replace(FOUND, consequences=(FOUND,)),), (Unseen("LR102", TEXT, (TEXT,)),), (), 5)
KNOWN: Mapping[Any, list[Any]] = {
    Check: [CHECKS[0]],
    Facts: [Facts()],
    Diagnosed: [DIAGNOSED, Diagnosed((), (), (), 7)],
    LoadedProfile: [LOADED],
    Plan: [make_plan("x", LOADED)],
    LightragctlError: [LightragctlError("went wrong", "see there")],
    Path: [Path("/tmp/知识")],
    str: [TEXT],
    bytes: [b"\xff"],
    bool: [True, False],
    int: [1],
    float: [0.5],
    Any: [None, {"a": [1, TEXT]}],
    type(None): [None],
    datetime: [datetime(2026, 1, 31, 12, tzinfo=UTC)],
    np.ndarray: [np.ones(2, np.float32)],
    GoldenFigure: [
        GoldenFigure("recall", 1.0, Interval(0.9, 1.0), 40, None if verdict is FloorStatus.REPORTED else 0.9, verdict)
        for verdict in FloorStatus
    ],
    Mapping[str, Any]: [OBJECT],
}
"""What is not made of its annotation."""
DOCUMENTS = [RUN, SEARCH, COMPARED]
FEW = 7
"""Of the values that a type may have, so many at most."""


def hints(thing: Any) -> dict[str, Any]:
    """Annotations, with the names that its module imports for type checkers alone."""
    module = importlib.import_module(thing.__module__)
    names = dict(vars(module))
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.body:
                if isinstance(one, ast.ImportFrom) and one.module is not None:
                    names |= {name.name: getattr(importlib.import_module(one.module), name.name) for name in one.names}
    return typing.get_type_hints(thing, globalns=names)


def made(kind: Any) -> list[Any]:
    """Some values of a type."""
    if kind == Document:
        return DOCUMENTS
    if kind in KNOWN:
        return KNOWN[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return made_generic(origin, inner)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        return [kind(*(made(one)[0] for one in hints(kind).values()))]
    assert isinstance(kind, type), kind
    names = _fields(kind)
    assert names, f"how is a {kind} made? say it in KNOWN"
    return [kind(**values) for values in combined(names)] if not issubclass(kind, BaseModel) else _models(kind, names)


def made_generic(origin: Any, inner: tuple[Any, ...]) -> list[Any]:
    if origin is typing.Literal:
        return list(inner)
    if origin in (typing.Union, types.UnionType):
        return [value for one in inner for value in made(one)]
    if origin is typing.Annotated:
        return made(inner[0])
    if issubclass(origin, collections.abc.Mapping):
        return [dict(zip(made(inner[0]), made(inner[1]), strict=False))]
    if origin is np.ndarray:
        return KNOWN[np.ndarray]
    if issubclass(origin, tuple) and inner[-1] is not Ellipsis:
        return [tuple(made(one)[0] for one in inner)]
    found = made(inner[0])
    return [found if issubclass(list, origin) else origin(found)]


def combined(kinds: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Sets of values, so many that each value of each field is in one of them; at most FEW."""
    values = {name: made(kind)[:FEW] for name, kind in kinds.items()}
    for at in range(max((len(one) for one in values.values()), default=1)):
        yield {name: one[at % len(one)] for name, one in values.items()}


def _fields(kind: type) -> dict[str, Any]:
    if is_dataclass(kind):
        named = [field.name for field in fields(kind) if field.init]
    else:
        named = list(getattr(kind, "__struct_fields__", None) or getattr(kind, "model_fields", ()))
    found = hints(kind)
    return {name: found[name] for name in named}


def _models(kind: type[BaseModel], names: Mapping[str, Any]) -> list[Any]:
    return [kind.model_construct(**values) for values in combined(names)]


BUILDERS = {
    f"{payloads.__name__.split('.')[-2]} {name}": one
    for payloads in (
        backup,
        deploy,
        diagnose,
        profiles,
        data,
        bench,
        golden,
        index,
        operations,
        reembed,
        tool,
        tune,
        upgrade,
    )
    for name, one in inspect.getmembers(payloads, inspect.isfunction)
    if one.__module__ == payloads.__name__ and not name.startswith("_")
}


def built(builder: Callable[..., Result]) -> list[Result]:
    kinds = {name: kind for name, kind in hints(builder).items() if name != "return"}
    return [builder(**values | ({"command": "up"} if "command" in kinds else {})) for values in combined(kinds)]


def refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


@pytest.mark.parametrize("name", BUILDERS)
def test_every_result_is_the_same_in_json_and_yaml_and_has_a_table(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = 0
    for result in built(BUILDERS[name]):
        document = result.document()
        as_json = json.loads(json_text(document), parse_constant=refused)
        assert yaml.safe_load(yaml_text(document)) == as_json
        if result.data:
            Output(Format.TABLE, no_color=True).show(result)
            shown += bool(capsys.readouterr().out)
    assert shown or name == "deploy diff_failed"


def test_every_command_that_has_a_table_has_a_result() -> None:
    commands = {result.command for builder in BUILDERS.values() for result in built(builder)}
    assert set(VIEWS) - {"up", "rollback"} <= commands


class Colour(StrEnum):
    RED = "red"


class Number(Enum):
    ONE = 1


class Struct(msgspec.Struct):
    statuses: Mapping[int, int]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Colour.RED, "red"),
        (Number.ONE, 1),
        ({Colour.RED: {503: 1, None: 2, True: 3}}, {"red": {"503": 1, "None": 2, "True": 3}}),
        ((1, (2, 3)), [1, [2, 3]]),
        ({3, 1, 2}, [1, 2, 3]),
        (Path("/a/b"), "/a/b"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
        (Decimal("1.5"), 1.5),
        (b"a\xff", r"a\xff"),
        ("a\udcff", r"a\udcff"),
        ([float("nan"), float("inf"), -float("inf"), Decimal("NaN")], [None] * 4),
        ([np.float32(0.5), np.int64(7), np.bool_(True), np.float64("nan"), np.arange(2)], [0.5, 7, True, None, [0, 1]]),
        (Struct({503: 1}), {"statuses": {"503": 1}}),
        (iter, str(iter)),
    ],
)
def test_whatever_a_payload_holds_is_plain_in_it(value: Any, wanted: Any) -> None:
    document = Result("version", {"it": value}).document()
    assert document["it"] == plain(wanted) == wanted
    assert json.loads(json_text(document), parse_constant=refused)["it"] == wanted
    assert yaml.safe_load(yaml_text(document))["it"] == wanted
    assert json.loads(json.dumps(Event("x", data={"it": value}).document("t"), allow_nan=False))["data"]["it"] == wanted
