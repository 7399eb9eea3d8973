"""The section `upgrade` of a profile: the gates of a canary, and where further metrics come from. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from lightragctl.core.settings import Address, StrictModel


class Comparison(StrEnum):
    """What a gate compares the canary with.

    `absolute`: its limit. `stable`: what the stable pods show at the same time. `before`: what they showed before the
    canary was started.
    """

    ABSOLUTE = "absolute"
    STABLE = "stable"
    BEFORE = "before"


class Missing(StrEnum):
    """What a gate without its minimum of data says in the end: no verdict, that it passes, or that it fails."""

    UNDECIDED = "undecided"
    PASS = "pass"
    FAIL = "fail"


class GateSettings(StrictModel):
    """A gate of its own, or other values of a built-in one; what is not set of a built-in one stays.

    Attributes:
        enabled: false: the built-in gate is not used.
        metric: a name of the list in docs/guides/upgrade.md.
        query: in place of `metric`: PromQL that gives one value; `$pods` in it is a pattern of the names of pods.
        component: that the gate is for; null for every component with a canary.
        compare: what with.
        limit: it fails when the canary is shown to be above `ratio` times that, plus this. For `ready` and `overlap`
            it fails below this; for `recall` this may be lost.
        ratio: of what it is compared with.
        tolerance: it passes when the canary is shown to be less than this above the limit.
        minimum: requests to the canary, or samples of what is no share of requests.
        for_s: seconds for which `cpu` and `memory` have to be above the limit.
        missing: what less than the minimum means.
    """

    enabled: bool = True
    metric: str | None = None
    query: Annotated[str, Field(min_length=1)] | None = None
    component: str | None = None
    compare: Comparison | None = None
    limit: float | None = None
    ratio: Annotated[float, Field(ge=0)] | None = None
    tolerance: Annotated[float, Field(ge=0)] | None = None
    minimum: Annotated[int, Field(ge=1)] | None = None
    for_s: Annotated[float, Field(ge=0)] | None = None
    missing: Missing | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "GateSettings":
        if self.metric and self.query:
            raise ValueError("set metric or query, not both")
        return self


class UpgradeSettings(StrictModel):
    """How upgrades are judged.

    Attributes:
        prometheus: address of the Prometheus that answers the queries of gates, such as
            http://prometheus.monitoring:9090, as the Job of an upgrade reaches it.
        gates: by name.
    """

    prometheus: Address | None = None
    gates: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")], GateSettings] = Field(default_factory=dict)
