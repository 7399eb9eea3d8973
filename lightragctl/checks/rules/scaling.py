"""Rules about how many pods there are: replicas, autoscalers, disruption budgets, quorums."""

from collections.abc import Iterator

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.core.findings import Severity, Violation


def _range(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        scale = part.values.autoscale
        if scale and (scale.min > scale.max or scale.min < 1):
            where = f"{part.key}.autoscale"
            yield Violation(where, f"min {scale.min} and max {scale.max} are no range", "say 1 <= min <= max")


def _fixed(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if part.values.autoscale and part.values.replicas is not None:
            message = f"replicas: {part.values.replicas} and autoscale would take the number from each other"
            yield Violation(part.key, message, "say replicas: null and autoscale.min, or autoscale: null")


def _blind(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        scale = part.values.autoscale
        if scale and scale.cpu_percent is None and scale.requests_per_second is None:
            yield Violation(f"{part.key}.autoscale", "it says by nothing", "say cpu_percent: 70")


def _budget(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        budget, least = part.values.disruption_budget, part.values.least
        if budget is None:
            continue
        blocks = budget.max_unavailable == 0 or (budget.min_available or 0) >= max(least, 1)
        if blocks:
            message = f"with {least} pods it lets none of them go: no node could ever be emptied"
            way = "say max_unavailable: 1, or leave it out; one pod has no budget"
            yield Violation(f"{part.key}.disruption_budget", message, way)


def _odd(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if subject.plan.components[part.component].quorum and part.values.least % 2 == 0:
            members = part.values.least
            message = f"{members} members outlive the loss of no more than {members - 1} do, and fail more often"
            yield Violation(f"{part.key}.replicas", message, f"say replicas: {members + 1}")


def _quorum(subject: RenderedPlan) -> Iterator[Violation]:
    zones = subject.plan.profile.zones
    if not subject.plan.profile.production or zones >= 3:
        return
    for part in subject.plan.parts():
        if subject.plan.components[part.component].quorum:
            message = f"in {zones} zones, one of them has the majority of {part.component}: its loss stops everything"
            yield Violation("zones", message, "say zones: 3 where the cluster has them")


def _single(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    for part in subject.plan.parts():
        if subject.plan.components[part.component].redundant and part.values.least < 2:
            message = "one pod: while it moves to another node nobody is answered"
            yield Violation(part.key, message, "say replicas: 2, or autoscale: {min: 2, max: 6}")


def _alone(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    for part in subject.plan.parts():
        if part.component == "vector-engine" and part.kind == "StatefulSet":
            message = "one Milvus: a restart or a lost node stops every search for seconds to minutes"
            yield Violation("components.vector-engine.topology", message, "say topology: cluster, or standalone-ha")


RULES = (
    Rule("autoscale-range", "an autoscaler's least is not above its most", Severity.ERROR, _range),
    Rule("autoscale-and-replicas", "an autoscaler alone says how many pods there are", Severity.ERROR, _fixed),
    Rule("autoscale-blind", "an autoscaler has something to go by", Severity.ERROR, _blind),
    Rule("budget-blocks", "a disruption budget lets pods go", Severity.ERROR, _budget),
    Rule("etcd-even", "etcd has an odd number of members", Severity.ERROR, _odd),
    Rule("quorum-zones", "no zone has the majority of etcd", Severity.WARNING, _quorum),
    Rule("single-pod", "what answers users has two pods", Severity.WARNING, _single),
    Rule("single-milvus", "Milvus outlives the loss of a pod", Severity.WARNING, _alone),
)
