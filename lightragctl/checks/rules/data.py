"""Rules about data that are there already: a change must not leave them behind, nor break what keeps them."""

import re
from collections.abc import Iterator

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.components.vector_engine import VectorEngineValues
from lightragctl.core.findings import Severity, Violation


def _engine(subject: RenderedPlan) -> VectorEngineValues | None:
    """The values of vector-engine, whoever runs it; None when the profile has none."""
    section = subject.plan.profile.components.get("vector-engine")
    return section if isinstance(section, VectorEngineValues) else None


def _members(subject: RenderedPlan) -> int:
    """How many members of the release's etcd have a volume."""
    wanted = re.compile(rf"data-{re.escape(subject.plan.release)}-etcd-\d+")
    return sum(1 for name in subject.facts.claims or () if wanted.fullmatch(name))


def _left_behind(subject: RenderedPlan) -> Iterator[Violation]:
    engine, release = _engine(subject), subject.plan.release
    if engine is None or not engine.enabled:
        return
    way = "keep the topology; or bring up another release beside it (--name), load the documents there, and go over"
    alone = f"data-{release}-vector-engine-0"
    if engine.topology != "standalone" and alone in (subject.facts.claims or ()):
        message = (
            f"its collections are in the standalone Milvus's volume {alone}: {engine.topology} would not have them"
        )
        yield Violation("components.vector-engine.topology", message, way)
    if engine.topology == "standalone" and _members(subject):
        message = "its collections are in etcd and the object store: a standalone Milvus would not have them"
        yield Violation("components.vector-engine.topology", message, way)


def _resized(subject: RenderedPlan) -> Iterator[Violation]:
    there = _members(subject)
    for part in subject.plan.parts():
        if part.component == "etcd" and there and part.values.least != there:
            message = (
                f"it has {there} members, and {part.values.least} are wanted: a new one never joins unless etcd itself "
                "has added it, and one that only goes is still counted in the majority"
            )
            yield Violation("components.etcd.replicas", message, f"say replicas: {there}")


RULES = (
    Rule("data-left-behind", "another topology does not leave the collections behind", Severity.ERROR, _left_behind),
    Rule("etcd-resized", "etcd keeps the members that it began with", Severity.ERROR, _resized),
)
