"""A run with server metrics, thresholds and time: what a command shows and a file contains. Pure."""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from lightragctl.bench.result import LoadReport
from lightragctl.bench.thresholds import Threshold, broken


class Annotations(msgspec.Struct, frozen=True):
    """Data about a run besides its measurements.

    Attributes:
        stages_ms, batch_sizes, cache_hits: metrics of lightrag-api, as in `client.server_metrics`; empty: none.
        replicas: number of replicas included; 0 when unknown.
        replica_notes: replicas that are not included, and why.
        thresholds: each as given, and whether the run met it.
        ended_at: when it ended, as 2026-01-31T12:00:00Z; empty when unknown.
    """

    stages_ms: Mapping[str, float] = {}
    batch_sizes: Mapping[str, float] = {}
    cache_hits: Mapping[str, float] = {}
    replicas: int = 0
    replica_notes: tuple[str, ...] = ()
    thresholds: Mapping[str, bool] = {}
    ended_at: str = ""


class AnnotatedRun(msgspec.Struct, frozen=True):
    """One run: its report (a file has no bodies of answers) and its annotations."""

    report: LoadReport
    annotations: Annotations = Annotations()

    def against(self, wanted: Sequence[Threshold]) -> Self:
        """The same with its thresholds evaluated."""
        lost = broken(wanted, self.report)
        kept = {one.text: one.text not in lost for one in wanted}
        return msgspec.structs.replace(self, annotations=msgspec.structs.replace(self.annotations, thresholds=kept))

    @property
    def broken(self) -> list[str]:
        """The thresholds that it did not meet."""
        return [text for text, kept in self.annotations.thresholds.items() if not kept]
