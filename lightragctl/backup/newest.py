"""The newest good backup of a release's workspace, for `status`: within seconds, or why it cannot be seen. Does I/O."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from datetime import UTC, datetime

from lightragctl.backup import catalog
from lightragctl.backup.lock import Subject
from lightragctl.backup.storage import Patience
from lightragctl.backup.workspace import environ_of, open_destination
from lightragctl.core.errors import LightragctlError
from lightragctl.core.urls import shown
from lightragctl.operations.model import Operation
from lightragctl.release.release import Release

MOST_S = 5.0
"""How long `status` waits for the destination."""
_PATIENCE = Patience(request_s=MOST_S, stalled_s=MOST_S, retries=0, total_s=MOST_S)


@dataclass(frozen=True)
class Newest:
    """The newest backup of the workspace that the profile names.

    Attributes:
        destination: its URL.
        id, finished_at, age_s: of the backup; null when there is none, or none can be seen.
        problem: why the destination could not be read; the backup is then the newest that an operation recorded.
    """

    destination: str
    id: str | None = None
    finished_at: str | None = None
    age_s: int | None = None
    problem: str = ""


def newest(release: Release, records: Callable[[], Sequence[Operation]], now: datetime) -> Newest | None:
    """The newest good backup; None when the profile has no destination.

    Args:
        release: whose profile says where backups are.
        records: its operations.
        now: the time, in UTC.
    """
    destination = release.loaded.profile.backup.destination
    if destination is None:
        return None
    pool = ThreadPoolExecutor(1, "newest backup")
    try:
        found, problem = pool.submit(_at_destination, release).result(MOST_S), ""
    except NotInTime:
        found, problem = _recorded(release, records()), f"it did not answer within {MOST_S:g} s"
    except LightragctlError as error:
        found, problem = _recorded(release, records()), error.message
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if found is None:
        return Newest(shown(destination), problem=problem)
    id, finished_at = found
    at = datetime.strptime(finished_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return Newest(shown(destination), id, finished_at, round((now - at).total_seconds()), problem)


def _at_destination(release: Release) -> tuple[str, str] | None:
    profile = release.loaded.profile
    storage = open_destination(profile.backup, None, environ_of(release, profile.backup), _PATIENCE, missing="refuse")
    manifest = catalog.newest(storage, Subject(release.name, profile.workspace))
    return (manifest.id, manifest.finished_at) if manifest else None


def _recorded(release: Release, records: Sequence[Operation]) -> tuple[str, str] | None:
    workspace = release.loaded.profile.workspace
    made = [one.results["made"] for one in records if one.workspace == workspace and one.results.get("made")]
    newest = max(made, key=lambda one: str(one["finished_at"]), default=None)
    return (str(newest["id"]), str(newest["finished_at"])) if newest else None
