"""What an upgrade does to a component that keeps data, in words for its plan. Pure."""

from dataclasses import dataclass

from lightragctl.upgrade.compared import COMPARED_GATES

PLANNED_QUERIES = 100
"""Searches for stored vectors in each collection; recorded questions come on top of them."""


@dataclass(frozen=True)
class DataPlan:
    """The steps of one component, what is compared, and how it can be undone.

    Attributes:
        queries: how many searches are compared at least; 0: none.
        final: the step after which the older image cannot be used, if the change of versions is one-way.
    """

    steps: tuple[str, ...]
    gates: tuple[str, ...]
    outage: str
    compared: str
    queries: int
    final: str


_CHECK = "check health, drift and quota; save what searches find now"
_BACKUP = "back up the workspace, unless a backup is younger than an hour"
_VERIFY = "verify by a search"
_COPY = (
    "start the new version beside it with storage of its own",
    "copy all rows to it, compare their hashes",
    "compare the answers of both servers, delete the copy",
)


def shadow_plan(canary: bool, one_way: bool) -> DataPlan:
    """Of a vector store with one server."""
    return DataPlan(
        steps=(
            _CHECK,
            *((_BACKUP,) if one_way else ()),
            *(_COPY if canary else ()),
            "replace the server on its volume, measure the outage",
            "compare rows and answers with those before",
            _VERIFY,
        ),
        gates=(*COMPARED_GATES, "rows") if canary else ("rows", "errors", "overlap", "score-drift"),
        outage="from the stop of the server until it answers again: some 20 to 60 s, longer with many rows; measured",
        compared=_about("stored vectors of each collection and recorded questions on both servers") if canary else "",
        queries=PLANNED_QUERIES if canary else 0,
        final="replace",
    )


def _about(what: str) -> str:
    return f"no traffic; {PLANNED_QUERIES} {what}"
