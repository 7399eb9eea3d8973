"""What a profile sets about the life of its indexes: rules that `index lifecycle` applies. Pure."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from lightragctl.core.backup import check_cron
from lightragctl.core.settings import StrictModel


class IndexLifecycle(StrictModel):
    """Rules for the indexes of a release; null: the rule is off.

    `compact_small_segments`: merge the segments of a collection with at least n small ones. `rebuild_growth_percent`:
    rebuild an index when its rows have grown by this since it was first seen. `cold_days`: a workspace whose
    collections lightrag-api has not searched for so long is cold, and gets `cold_action`: `release` it from memory,
    `mmap` it from disk, or `archive` it in a backup and release it. `drop_leftovers_hours`: drop copies and trials that
    no open operation uses and no operation keeps, once they were seen for so long. `schedule`: when a CronJob of the
    release applies the rules, in UTC, as `0 4 * * *`.
    """

    compact_small_segments: Annotated[int, Field(ge=2, le=10_000)] | None = None
    rebuild_growth_percent: Annotated[int, Field(ge=10, le=10_000)] | None = None
    cold_days: Annotated[float, Field(gt=0, le=3650)] | None = None
    cold_action: Literal["release", "mmap", "archive"] = "release"
    drop_leftovers_hours: Annotated[float, Field(ge=1, le=8760)] | None = None
    schedule: str | None = None

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str | None) -> str | None:
        return check_cron(schedule)

    @property
    def is_off(self) -> bool:
        """Whether there is no rule."""
        rules = (self.compact_small_segments, self.rebuild_growth_percent, self.cold_days, self.drop_leftovers_hours)
        return all(rule is None for rule in rules)
