"""Rules about existing data: a change must not orphan it, nor break the store that holds it."""

import re
from collections.abc import Iterator

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.components.vector_engine import VectorEngineValues
from lightragctl.core.findings import Severity, Violation


def _engine(subject: RenderedPlan) -> VectorEngineValues | None:
    """The values of vector-engine, also of an external one; None when the profile has none."""
    section = subject.plan.profile.components.get("vector-engine")
    return section if isinstance(section, VectorEngineValues) else None


def _members(subject: RenderedPlan) -> int:
    """How many members of the release's etcd have a volume."""
    wanted = re.compile(rf"data-{re.escape(subject.plan.release)}-etcd-\d+")
    return sum(1 for name in subject.facts.claims or () if wanted.fullmatch(name))


def _orphaned(subject: RenderedPlan) -> Iterator[Violation]:
    engine, release = _engine(subject), subject.plan.release
    if engine is None or not engine.enabled:
        return
    way = "keep the topology; or bring up a second release (--name), load the documents there, and switch clients"
    alone = f"data-{release}-vector-engine-0"
    if engine.topology != "standalone" and alone in (subject.facts.claims or ()):
        message = f"its collections are in volume {alone} of a standalone Milvus; {engine.topology} would start empty"
        yield Violation("components.vector-engine.topology", message, way)
    if engine.topology == "standalone" and _members(subject):
        message = "its collections are in etcd and the object store; a standalone Milvus would start empty"
        yield Violation("components.vector-engine.topology", message, way)


def _resized(subject: RenderedPlan) -> Iterator[Violation]:
    there = _members(subject)
    for part in subject.plan.parts():
        if part.component == "etcd" and there and part.values.least != there:
            message = (
                f"etcd has {there} members, the profile sets {part.values.least}: a new member never joins unless etcd "
                "has added it, and a removed one still counts for the majority"
            )
            yield Violation("components.etcd.replicas", message, f"set replicas: {there}")


RULES = (
    Rule("orphaned-data", "a change of topology keeps the collections", Severity.ERROR, _orphaned),
    Rule("etcd-resize", "etcd keeps its number of members", Severity.ERROR, _resized),
)
