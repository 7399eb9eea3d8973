"""The names that scripts and dashboards of users rely on, collected from the code, and their snapshot.

    .venv/bin/python -m tests.stable_names            adds new names to the snapshot; refuses to remove any
    .venv/bin/python -m tests.stable_names --remove   removes names as well: a breaking change, for the changelog

A renamed name is a removed one and a new one. `tests/contract/test_stable_names.py` compares code and snapshot.
"""

import ast
import importlib
import json
import pkgutil
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import lightragctl
from lightragctl import components
from lightragctl.checks.lint import all_rules
from lightragctl.cli.app import build
from lightragctl.core import settings
from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.profile import Profile
from lightragctl.kube import labels
from lightragctl.service.api import Backends, create_app
from lightragctl.service.http import Request, Response
from lightragctl.service.metrics import Metrics

SNAPSHOT = Path(__file__).parent / "snapshots" / "stable_names.json"
PACKAGE = Path(lightragctl.__file__).parent
Names = Mapping[str, frozenset[str]]
"""Names by kind."""


def collected() -> Names:
    """The names that the code has now."""
    return {kind: frozenset(collect()) for kind, collect in COLLECTORS.items()}


def stored(snapshot: Path = SNAPSHOT) -> Names:
    """The names of the snapshot; none where there is none yet."""
    if not snapshot.exists():
        return {}
    return {kind: frozenset(names) for kind, names in json.loads(snapshot.read_text(encoding="utf-8")).items()}


def missing(before: Names, now: Names) -> list[str]:
    """Names that were stable and are gone, as `kind: name`."""
    return [f"{kind}: {name}" for kind, names in before.items() for name in sorted(names - now.get(kind, frozenset()))]


def _commands() -> Iterator[str]:
    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        line = " ".join(words)
        yield line
        for parameter in command.params:
            if parameter.param_type_name == "option":
                yield from (f"{line} {option}" for option in (*parameter.opts, *parameter.secondary_opts))
        for name, one in getattr(command, "commands", {}).items():
            if not one.hidden:
                yield from walk(one, (*words, name))

    return walk(typer.main.get_command(build()), ("lightragctl",))


def _payload_keys() -> Iterator[str]:
    from tests.contract.test_payloads import BUILDERS, TEXT, built

    for builder in BUILDERS.values():
        for result in built(builder):
            yield from _paths(result.document(), result.command, TEXT)


def _paths(value: Any, path: str, made_up: str) -> Iterator[str]:
    """Dotted keys of a document; `*` stands for keys that are data. Keys of a profile are a kind of their own."""
    if isinstance(value, list):
        for one in value:
            yield from _paths(one, f"{path}[]", made_up)
    elif isinstance(value, dict) and path != "profiles show.profile":
        for key, one in value.items():
            inner = f"{path}.{'*' if made_up in key or not key.isidentifier() else key}"
            yield inner
            yield from _paths(one, inner, made_up)


def _error_codes() -> Iterator[str]:
    for module in pkgutil.walk_packages([str(PACKAGE)], "lightragctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def walk(error: type[LightragctlError]) -> Iterator[str]:
        yield error.code
        for one in error.__subclasses__():
            if one.__module__.startswith("lightragctl."):
                yield from walk(one)

    return walk(LightragctlError)


def _calls(name: str) -> Iterator[ast.Call]:
    """Every call of a class of that name in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.search(rf"(^|\.){name}$", ast.unparse(node.func)):
                yield node


def _literals(node: ast.expr | None) -> Iterator[str]:
    for inner in ast.walk(node) if node is not None else ():
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _first_arguments(name: str) -> Iterator[str]:
    for call in _calls(name):
        yield from _literals(call.args[0] if call.args else None)


def _problem_codes() -> Iterator[str]:
    """Codes of problems that come from no error: the fifth argument, or `code`."""
    for call in _calls("Problem"):
        yield from _literals(call.args[4] if len(call.args) > 4 else None)
        yield from (text for keyword in call.keywords if keyword.arg == "code" for text in _literals(keyword.value))


def _http_api() -> Iterator[str]:
    """Operations of lightrag-api, and the keys of what they take and return."""
    from tests.fakes.service import SETTINGS

    @asynccontextmanager
    async def unused() -> AsyncGenerator[Backends, None]:
        raise NotImplementedError
        yield

    app, request = create_app(SETTINGS, unused), Request("GET", b"/openapi.json", {})
    assert app.refusal(request) is None
    response = app.answer(request)
    assert isinstance(response, Response)
    document = json.loads(response.body)
    for path, operations in document["paths"].items():
        yield from (f"{method.upper()} {path}" for method in operations)
    for name, schema in document["components"]["schemas"].items():
        yield from (f"{name}.{key}" for key in schema.get("properties", ()))


def _metrics() -> Iterator[str]:
    for metric in Metrics().registry.collect():
        if metric.name.startswith("lightragctl_"):
            yield f"{metric.name} ({metric.type})"


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted keys of a JSON schema; `*` stands for the keys of a map."""
    for one in [schema, *schema.get("anyOf", ()), *schema.get("allOf", ())]:
        if "$ref" in one:
            yield from _keys(definitions[one["$ref"].rpartition("/")[2]], definitions, path)
        for name, inner in one.get("properties", {}).items():
            yield f"{path}{name}"
            yield from _keys(inner, definitions, f"{path}{name}.")
        if isinstance(one.get("additionalProperties"), Mapping):
            yield from _keys(one["additionalProperties"], definitions, f"{path}*.")
        if isinstance(one.get("items"), Mapping):
            yield from _keys(one["items"], definitions, f"{path}[].")


def _model_keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    schemas, definitions = models_json_schema([(model, "validation")])
    return _keys(schemas[model, "validation"], definitions.get("$defs", {}), path)


def _profile_keys() -> Iterator[str]:
    yield from _model_keys(Profile)
    for component in components.all_components():
        yield from _model_keys(component.values, f"components.{component.name}.")


def _settings_keys() -> Iterator[str]:
    for name, model in vars(settings).items():
        if isinstance(model, type) and issubclass(model, settings.ServiceSettings):
            yield from _model_keys(model, f"{name}.")


def _label_keys() -> Iterator[str]:
    for name, value in vars(labels).items():
        if name.isupper() and isinstance(value, str) and "/" in value:
            yield value


COLLECTORS: Mapping[str, Callable[[], Iterable[str]]] = {
    "command": _commands,
    "exit status": lambda: (f"{one.value} {one.name}" for one in ExitStatus),
    "error code": _error_codes,
    "problem code": _problem_codes,
    "rule code": lambda: (rule.code for rule in all_rules()),
    "cause code": partial(_first_arguments, "Cause"),
    "payload key": _payload_keys,
    "profile key": _profile_keys,
    "settings key": _settings_keys,
    "HTTP API": _http_api,
    "metric": _metrics,
    "label": _label_keys,
}


def update(snapshot: Path, now: Names, *, remove: bool) -> list[str]:
    """Write the names to the snapshot; returns those that are gone, and then writes nothing unless `remove`."""
    gone = missing(stored(snapshot), now)
    if remove or not gone:
        names = {kind: sorted(names) for kind, names in now.items()}
        snapshot.write_text(json.dumps(names, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return gone


def main(arguments: list[str]) -> int:
    """Update the snapshot; 1 if names are gone and `--remove` is not given."""
    remove = "--remove" in arguments
    gone = update(SNAPSHOT, collected(), remove=remove)
    if gone:
        print("removed:" if remove else "names that users may rely on are gone (--remove):", *gone, sep="\n  ")
    return 1 if gone and not remove else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
