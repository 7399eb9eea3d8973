"""Table view of `version`."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View


def _version(data: Data) -> Iterator[RenderableType]:
    yield Text(f"lightragctl {data['version']} (Python {data['python']})")


VIEWS: Mapping[str, View] = {
    "version": _version,
}
