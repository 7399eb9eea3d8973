"""Table views of `profiles`."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, table
from lightragctl.core.hint import Command


def _profiles_list(data: Data) -> Iterator[RenderableType]:
    rows = [[one["name"], one["runtime"], one["description"]] for one in data["profiles"]]
    yield table(["NAME", "RUNTIME", "DESCRIPTION"], rows)


def _profiles_show(data: Data) -> Iterator[RenderableType]:
    rows = [[one["key"], str(one["value"]), one["origin"]] for one in data["values"]]
    yield table(["KEY", "VALUE", "ORIGIN"], rows)


def _profiles_init(data: Data) -> Iterator[RenderableType]:
    show = Command("profiles show", f"--profile {data['file']}")
    yield Text(f"wrote {data['file']}; show it: {show}")


def _profiles_validate(data: Data) -> Iterator[RenderableType]:
    refused = False
    for one in data["findings"]:
        refused = refused or one["severity"] == "error"
        if one["severity"] == "warning":  # errors are printed as errors
            text = f"warning: {one['subject']}: {one['message']} ({one['code']}); {one['hint']}"
            yield Text(text, style="yellow")
    if not refused:
        yield Text(f"profile {data['name']} is valid: {', '.join(data['components'])}")


VIEWS: Mapping[str, View] = {
    "profiles list": _profiles_list,
    "profiles show": _profiles_show,
    "profiles init": _profiles_init,
    "profiles validate": _profiles_validate,
}
