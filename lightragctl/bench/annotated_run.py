"""A run with what is told of it beside its own figures: what a command shows, and a file holds. Pure."""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lightragctl.bench.result import LoadReport
from lightragctl.bench.thresholds import Threshold, broken


class Annotations(msgspec.Struct, frozen=True):
    """What is told beside the report's own figures.

    Attributes:
        stages_ms, batch_sizes, cache_hits: what lightrag-api told of the run, as in `stages`; empty: nothing.
        replicas: how many of them told it; 0 in files that do not tell.
        replica_notes: which of them were left out, and why.
        thresholds: each as it was given, and whether the run kept to it.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty in files that do not tell.
    """

    stages_ms: Mapping[str, float] = {}
    batch_sizes: Mapping[str, float] = {}
    cache_hits: Mapping[str, float] = {}
    replicas: int = 0
    replica_notes: tuple[str, ...] = ()
    thresholds: Mapping[str, bool] = {}
    ended_at: str = ""


class AnnotatedRun(msgspec.Struct, frozen=True):
    """One run: what was measured (a file has no bodies of answers), and what is told of it."""

    report: LoadReport
    annotations: Annotations = Annotations()

    def against(self, wanted: Sequence[Threshold]) -> Self:
        """The same, held against thresholds."""
        lost = broken(wanted, self.report)
        kept = {one.text: one.text not in lost for one in wanted}
        return msgspec.structs.replace(self, annotations=msgspec.structs.replace(self.annotations, thresholds=kept))

    @property
    def broken(self) -> list[str]:
        """The thresholds that it did not keep to."""
        return [text for text, kept in self.annotations.thresholds.items() if not kept]
