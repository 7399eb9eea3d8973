"""The OpenAPI document of an app, from its routes and msgspec types. Pure."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

import lightragctl

_REFERENCE = "#/components/schemas/{name}"
_ID = str.maketrans("/", "_")
_KEY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""The two ways of sending an API key that `service.keys` accepts."""


class Described(Protocol):
    """The fields of `http.Route` that the document needs."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def query(self) -> type[msgspec.Struct] | None: ...
    @property
    def body(self) -> type[msgspec.Struct] | None: ...
    @property
    def answer(self) -> type[msgspec.Struct] | None: ...
    @property
    def stream(self) -> str: ...


def document(title: str, routes: Sequence[Described], needs_key: bool = False) -> dict[str, Any]:
    """An OpenAPI 3.1 document of these routes; `needs_key`: they require an API key."""
    types = {t for route in routes for t in (route.body, route.answer, route.query) if t is not None}
    ordered = sorted(types, key=lambda t: t.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of, components)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": lightragctl.__version__},
        "paths": paths,
        "components": {"schemas": components},
    }
    if needs_key:
        described["components"]["securitySchemes"] = _KEY_SCHEMES
        described["security"] = [{name: []} for name in _KEY_SCHEMES]
    return described


def _operation(
    route: Described, schema_of: dict[type[msgspec.Struct], dict[str, Any]], components: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.method.lower() + route.path.translate(_ID),
        "summary": route.summary,
        "responses": {"200": {"description": "success"}, "default": {"description": "a problem with detail and hint"}},
    }
    if route.answer:
        operation["responses"]["200"]["content"] = {"application/json": {"schema": schema_of[route.answer]}}
    if route.stream:
        operation["responses"]["200"]["content"][route.stream] = {"schema": {}}
    if route.body:
        content = {"application/json": {"schema": schema_of[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.query:
        schema = components[route.query.__name__]
        required = schema.get("required", [])
        operation["parameters"] = [
            {"name": name, "in": "query", "required": name in required, "schema": part}
            for name, part in schema["properties"].items()
        ]
    return operation
