"""The section `diagnose` of a profile: thresholds of the checks, and findings that are accepted. Pure."""

from datetime import date
from typing import Annotated

from pydantic import Field

from lightragctl.core.settings import StrictModel

Ratio = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]


class Thresholds(StrictModel):
    """When a measured value is a finding.

    Memory and disk: shares of the limit. `*_s`: seconds. The defaults for memory are Milvus's own water levels.
    """

    memory_high: Ratio = 0.85
    memory_critical: Ratio = 0.95
    loaded_memory: Ratio = 0.7
    jvm_heap: Ratio = 0.75
    cache_memory: Ratio = 0.5
    disk_high: Ratio = 0.85
    disk_critical: Ratio = 0.95
    quota_high: Ratio = 0.9
    open_files: Ratio = 0.8
    etcd_size: Ratio = 0.8
    growing_rows: Ratio = 0.2
    unindexed_rows: Ratio = 0.1
    failed_calls: Ratio = 0.05
    late_requests: Ratio = 0.05
    time_tick_lag_s: Seconds = 10.0
    time_tick_lag_critical_s: Seconds = 300.0
    checkpoint_lag_s: Seconds = 3600.0
    search_ratio: Ratio = 0.5
    round_trip_s: Seconds = 1.0
    network_s: Seconds = 0.1
    embedding_s: Seconds = 5.0
    loop_lag_s: Seconds = 2.0
    etcd_fsync_s: Seconds = 0.2
    clock_skew_s: Seconds = 60.0
    stuck_s: Seconds = 3600.0
    backup_age_s: Seconds = 172_800.0
    restarts_recent_s: Seconds = 900.0
    oom_recent_s: Seconds = 86400.0
    certificate_days: Annotated[int, Field(ge=1)] = 30
    certificate_critical_days: Annotated[int, Field(ge=1)] = 7
    waiting_requests: Annotated[int, Field(ge=1)] = 10
    over_requested: Annotated[float, Field(gt=1)] = 8.0
    log_bytes: Annotated[int, Field(ge=1)] = 200_000_000


class Suppression(StrictModel):
    """A finding that is accepted: of this code, on this object (without one, on any), until the end of a day."""

    code: Annotated[str, Field(pattern=r"^LR[0-9]{3}$")]
    subject: str | None = None
    reason: Annotated[str, Field(min_length=1)]
    until: date


class Diagnosis(StrictModel):
    """Settings of `diagnose`: thresholds, and findings that are accepted."""

    thresholds: Thresholds = Thresholds()
    suppress: tuple[Suppression, ...] = ()
