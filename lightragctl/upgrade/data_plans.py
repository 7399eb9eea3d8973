"""What an upgrade does to a component that keeps data, in words for its plan. Pure."""

from dataclasses import dataclass

from lightragctl.components import all_components
from lightragctl.upgrade.compared import COMPARED_GATES

PLANNED_QUERIES = 100
"""Searches for stored vectors in each collection; recorded questions come on top of them."""
KNOWN_QUERIES = 10
"""Searches of each collection whose results are compared with those before."""


@dataclass(frozen=True)
class DataPlan:
    """The steps of one component, what is compared, and how it can be undone.

    Attributes:
        queries: how many searches are compared at least.
        is_sample: they are a sample, so that the verdict is by an interval.
        final: the step after which the older image cannot be used, if the change of versions is one-way.
    """

    steps: tuple[str, ...]
    gates: tuple[str, ...]
    outage: str
    compared: str
    queries: int
    is_sample: bool
    final: str


FIRST = ("querynode", "proxy")
"""Roles of a cluster of which one pod of the new version joins first: those that answer searches."""
WRITER_QUERIES = 20
"""Questions to lightrag-server whose results are compared."""
_QUESTIONS = f"the beginnings of {WRITER_QUERIES} stored chunks as questions"
_AFTER = tuple(gate for gate in ("rows", *COMPARED_GATES) if gate != "latency")
_BOTH = f"no traffic; {PLANNED_QUERIES} stored vectors of each collection and recorded questions on both servers"
_AGAIN = f"{KNOWN_QUERIES} stored vectors of each collection before and after"
_CHECK = "check health, drift and quota; save what searches find now"
_BACKUP = "back up the workspace, unless a backup is younger than an hour"
_VERIFY = "verify by a search"
_COPY = (
    "start the new version beside it with storage of its own",
    "copy all rows to it, compare their hashes",
    "compare the answers of both servers, delete the copy",
)


def role_order(downgrade: bool) -> tuple[str, ...]:
    """The roles of a cluster in the order in which it is upgraded, or downgraded."""
    order = next(one.update_order for one in all_components() if one.update_order)
    return order[::-1] if downgrade else order


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
        gates=("rows", *COMPARED_GATES) if canary else _AFTER,
        outage="from the stop of the server until it answers again: some 20 to 60 s, longer with many rows; measured",
        compared=_BOTH if canary else _AGAIN,
        queries=PLANNED_QUERIES if canary else KNOWN_QUERIES,
        is_sample=canary,
        final="replace",
    )


def writer_plan(canary: bool) -> DataPlan:
    """Of lightrag-server. Its rollback restores a backup, as it may rewrite its files when it starts."""
    trial = (
        "clone the workspace, with lightrag-server stopped",
        "start the new version on the clone",
        "compare what questions find with both versions, discard the clone",
    )
    return DataPlan(
        steps=(
            _CHECK,
            *(trial if canary else ()),
            "stop lightrag-server, block writes, back up the workspace",
            "start the new version on the workspace",
            "compare rows and answers with those before; restore the backup if they differ",
            _VERIFY,
        ),
        gates=_AFTER,
        outage="of lightrag-server: the backup and a start, some minutes; lightrag-api answers meanwhile; measured",
        compared=f"{_QUESTIONS}, with both versions" if canary else f"{_QUESTIONS}, before and after",
        queries=WRITER_QUERIES,
        is_sample=False,
        final="start",
    )


def roles_plan(canary: bool, one_way: bool, downgrade: bool) -> DataPlan:
    """Of a cluster."""
    order = role_order(downgrade)
    steps: list[str] = []
    for role in order:
        if canary and role in FIRST:
            steps.append(f"{role}: one pod of the new version joins, compare rows and answers with those before")
        steps.append(f"{role}: replace the pods, compare rows and answers with those before")
    return DataPlan(
        steps=(_CHECK, *((_BACKUP,) if one_way else ()), *steps, "record the revision", _VERIFY),
        gates=_AFTER,
        outage="seconds while query nodes hand over; a single coordinator: until its successor is ready",
        compared=f"{_AGAIN}, after each role",
        queries=KNOWN_QUERIES,
        is_sample=False,
        final=order[0],
    )
