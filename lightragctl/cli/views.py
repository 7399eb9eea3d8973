"""From a Result's payload to what a person reads: the views of all commands; rich renderables come out."""

from collections.abc import Sequence

from lightragctl.cli.backup import views as backup
from lightragctl.cli.bench import views as bench
from lightragctl.cli.data import views as data
from lightragctl.cli.deploy import views as deploy
from lightragctl.cli.golden import views as golden
from lightragctl.cli.profiles import views as profiles
from lightragctl.cli.tables import Data, View
from lightragctl.cli.tool import views as tool


def manifests(command: str, data: Data) -> Sequence[Data]:
    """What is printed as YAML documents for other tools even where no format is asked for; nothing of other results."""
    if command == "render":
        return list(data.get("objects", ()))
    return [data["profile"]] if command == "profiles show" and "profile" in data else []


VIEWS: dict[str, View] = {
    **deploy.VIEWS,
    **profiles.VIEWS,
    **data.VIEWS,
    **bench.VIEWS,
    **golden.VIEWS,
    **backup.VIEWS,
    **tool.VIEWS,
}
