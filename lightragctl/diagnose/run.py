"""A whole diagnosis: collect what the chosen checks need, judge it. Reads only; does network I/O through collectors."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from lightragctl.core.diagnosis import Diagnosis
from lightragctl.diagnose.check import Category, Check, Symptom, all_checks
from lightragctl.diagnose.collect.run import collect
from lightragctl.diagnose.collect.source import Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import Diagnosed, chosen, diagnose
from lightragctl.diagnose.path import Hop, hops
from lightragctl.release.release import Release


@dataclass(frozen=True)
class Report:
    """A diagnosis of a release.

    Attributes:
        release, runtime: which; empty where a bundle does not tell.
        diagnosed: the findings.
        path: the way of a search.
        facts: what they were judged by.
        took_s: seconds of the whole.
        requests: HTTP requests to the release.
        api_requests: requests to the API server.
        bytes_read: size of the responses to both.
    """

    release: str
    runtime: str
    diagnosed: Diagnosed
    path: tuple[Hop, ...]
    facts: Facts
    took_s: float = 0.0
    requests: int = 0
    api_requests: int = 0
    bytes_read: int = 0


def selected(category: Category | None, symptom: Symptom | None) -> tuple[Check, ...]:
    """The checks of a category and a symptom; None: of all."""
    return chosen(all_checks(), category, symptom)


def examine(
    release: Release, checks: tuple[Check, ...], now: Callable[[], datetime], told: Callable[[str], None]
) -> Report:
    """Diagnose a release.

    Args:
        release: opened.
        checks: to judge.
        now: the present time.
        told: called with the name of each source that has been read.
    """
    begin = time.monotonic()
    source = Source(release, now().timestamp())
    settings = release.loaded.profile.diagnose
    wanted = {fact for check in checks for fact in check.needs}
    facts = collect(source, settings.thresholds, wanted, told)
    source.http.close()
    diagnosed = diagnose(checks, facts, settings.suppress, now().date())
    deployed = source.deployed
    return Report(
        deployed.release,
        deployed.runtime,
        diagnosed,
        hops(facts, diagnosed),
        facts,
        round(time.monotonic() - begin, 2),
        source.requests,
        source.api_requests(),
        source.bytes_read(),
    )


def examine_facts(facts: Facts, checks: tuple[Check, ...], settings: Diagnosis, today: datetime) -> Report:
    """Judge the facts of a bundle, with what the profile at hand accepts."""
    from_bundle = diagnose(checks, facts, settings.suppress, today.astimezone(UTC).date())
    deployed = facts.values.get("deployed")
    name, runtime = (deployed.release, deployed.runtime) if deployed else ("", "")
    return Report(name, runtime, from_bundle, hops(facts, from_bundle), facts)
