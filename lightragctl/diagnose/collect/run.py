"""Runs the collectors in parallel, each with a deadline; a hanging one is abandoned. Starts threads."""

import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from queue import Empty, Queue
from typing import Any

import httpx

from lightragctl.core.diagnosis import Thresholds
from lightragctl.core.discovery import declared
from lightragctl.core.errors import LightragctlError
from lightragctl.core.profile import Runtime
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Fact, Facts
from lightragctl.diagnose.judge import NOT_HERE
from lightragctl.diagnose.keys import DEPLOYED, THRESHOLDS
from lightragctl.diagnose.text import redacted

Told = Callable[[str], None]
"""Takes the name of each collector that has ended."""


def collectors() -> tuple[Collector, ...]:
    """Every collector."""
    groups = declared("lightragctl.diagnose.collect.sources", "COLLECTORS", tuple)
    return tuple(one for group in groups for one in group)


def collect(source: Source, thresholds: Thresholds, wanted: Collection[Fact[Any]], told: Told) -> Facts:
    """The facts, and why others are missing. Never raises for what cannot be read.

    Args:
        source: the release.
        thresholds: of the profile.
        wanted: the facts that are needed.
        told: called as collectors end.
    """
    facts = Facts()
    facts.put(THRESHOLDS, thresholds)
    facts.put(DEPLOYED, source.deployed)
    reasons = {one: _unfit(one, source, facts) for one in collectors()}
    fitting = [one for one, reason in reasons.items() if not reason]
    _run([one for one in fitting if set(one.provides) & set(wanted)], source, facts, told)
    for collector, reason in reasons.items():
        if reason:
            _lack(facts, collector, reason)
    return facts


def _unfit(collector: Collector, source: Source, facts: Facts) -> str:
    """Why the collector has nothing to read; empty when it has."""
    here = Runtime.LOCAL if source.is_local else Runtime.KUBERNETES
    if collector.runtime not in (None, here):
        return f"of a release on another runtime: {NOT_HERE}"
    if collector.component and collector.component not in facts[DEPLOYED].components:
        return f"the release has no {collector.component}: {NOT_HERE}"
    return ""


def _run(running: Sequence[Collector], source: Source, facts: Facts, told: Told) -> None:
    begin = time.monotonic()
    ended: Queue[tuple[Collector, Facts]] = Queue()
    for collector in running:
        threading.Thread(target=_read, args=(collector, source, ended), daemon=True).start()
    waiting = {one.name: one for one in running}
    while waiting:
        left_s = min(one.deadline_s for one in waiting.values()) + begin - time.monotonic()
        try:
            collector, found = ended.get(timeout=max(0.0, left_s))
        except Empty:
            for late in [one for one in waiting.values() if time.monotonic() - begin >= one.deadline_s]:
                _lack(facts, waiting.pop(late.name), f"not collected within {late.deadline_s:g} s")
            continue
        if waiting.pop(collector.name, None):
            facts.values.update(found.values)
            for name, reason in found.missing.items():
                facts.missing.setdefault(name, reason)
            told(collector.name)


def _read(collector: Collector, source: Source, ended: "Queue[tuple[Collector, Facts]]") -> None:
    """Read into facts of its own, so that a thread that is left behind writes nothing more."""
    found = Facts()
    try:
        collector.read(source, found)
    except LightragctlError as error:
        _lack(found, collector, redacted(_short(error.message)))
    except (httpx.HTTPError, OSError) as error:
        _lack(found, collector, redacted(f"{type(error).__name__}: {error}"))
    finally:
        _lack(found, collector, "not collected")
        ended.put((collector, found))


_DENIED = re.compile(r'cannot (\w+) resource "([\w./-]+)" in API group "([\w.-]*)"')


def _short(message: str) -> str:
    """What the API server says of a missing right, as the right."""
    if found := _DENIED.search(message):
        group = f".{found[3]}" if found[3] else ""
        return f"you may not {found[1]} {found[2]}{group}"
    return message


def _lack(facts: Facts, collector: Collector, reason: str) -> None:
    for fact in collector.provides:
        facts.miss(fact, reason)
