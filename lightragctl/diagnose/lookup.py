"""Lookups in facts: the collection of the passages, series of a component, times of the API server. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import COLLECTIONS, DEPLOYED
from lightragctl.diagnose.model import Collection, Deployed, Samples, Series


def chunks_name(release: Deployed) -> str:
    """LightRAG's name of the workspace's passages."""
    return f"{release.workspace}_chunks_{release.suffix}"


def chunks(facts: Facts) -> Collection | None:
    """The collection of the workspace's passages; None when there is none yet."""
    name = chunks_name(facts[DEPLOYED])
    return next((one for one in facts[COLLECTIONS] if name in (one.name, *one.aliases)), None)


def of_component(found: dict[str, Series], component: str) -> Iterator[tuple[str, Series]]:
    """Name and series of each replica of the component."""
    for key, series in found.items():
        part, _, name = key.partition("/")
        if part == component:
            yield name, series


def merged(found: dict[str, Series], component: str, name: str) -> Samples:
    """The samples of one series of all replicas."""
    return [one for _, series in of_component(found, component) for one in series.get(name, ())]


def unix(text: str) -> float | None:
    """A time as the API server writes it, in unix seconds; None when it cannot be read."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return None
