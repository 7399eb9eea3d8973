"""The table views of all commands: from a payload to rich renderables."""

from collections.abc import Sequence

from lightragctl.cli.backup import views as backup
from lightragctl.cli.bench import views as bench
from lightragctl.cli.data import views as data
from lightragctl.cli.deploy import views as deploy
from lightragctl.cli.diagnose import views as diagnose
from lightragctl.cli.golden import views as golden
from lightragctl.cli.index import views as index
from lightragctl.cli.operations import views as operations
from lightragctl.cli.profiles import views as profiles
from lightragctl.cli.reembed import views as reembed
from lightragctl.cli.tables import Data, View
from lightragctl.cli.tool import views as tool
from lightragctl.cli.tune import views as tune
from lightragctl.cli.upgrade import views as upgrade


def manifests(command: str, data: Data) -> Sequence[Data]:
    """The documents of results that are printed as YAML by default, for other tools; empty for all others."""
    if "objects" in data:
        return list(data.get("objects", ()))
    return [data["profile"]] if command == "profiles show" and "profile" in data else []


VIEWS: dict[str, View] = {
    **deploy.VIEWS,
    **diagnose.VIEWS,
    **profiles.VIEWS,
    **data.VIEWS,
    **bench.VIEWS,
    **golden.VIEWS,
    **index.VIEWS,
    **backup.VIEWS,
    **operations.VIEWS,
    **reembed.VIEWS,
    **tool.VIEWS,
    **tune.VIEWS,
    **upgrade.VIEWS,
}
