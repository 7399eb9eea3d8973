"""Rules about scaling: replicas, autoscalers, disruption budgets, quorums."""

from collections.abc import Iterator

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.core.findings import Severity, Violation


def _range(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        scale = part.values.autoscale
        if scale and (scale.min > scale.max or scale.min < 1):
            where = f"{part.key}.autoscale"
            yield Violation(where, f"min {scale.min} and max {scale.max} are not a valid range", "set 1 <= min <= max")


def _fixed(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if part.values.autoscale and part.values.replicas is not None:
            message = f"replicas: {part.values.replicas} and autoscale both set the number of pods"
            yield Violation(part.key, message, "set replicas: null and autoscale.min, or autoscale: null")


def _blind(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        scale = part.values.autoscale
        if scale and scale.cpu_percent is None and scale.requests_per_second is None:
            yield Violation(f"{part.key}.autoscale", "no metric to scale by", "set cpu_percent: 70")


def _budget(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        budget, least = part.values.disruption_budget, part.values.least
        if budget is None:
            continue
        blocks = budget.max_unavailable == 0 or (budget.min_available or 0) >= max(least, 1)
        if blocks:
            message = f"allows no disruption of {least} pods: no node that runs one can be drained"
            way = "set max_unavailable: 1, or omit it; a single pod gets no budget"
            yield Violation(f"{part.key}.disruption_budget", message, way)


def _odd(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if subject.plan.components[part.component].quorum and part.values.least % 2 == 0:
            members = part.values.least
            message = f"{members} members tolerate no more failures than {members - 1}, and are more likely to lose one"
            yield Violation(f"{part.key}.replicas", message, f"set replicas: {members + 1}")


def _quorum(subject: RenderedPlan) -> Iterator[Violation]:
    zones = subject.plan.profile.zones
    if not subject.plan.profile.production or zones >= 3:
        return
    for part in subject.plan.parts():
        if subject.plan.components[part.component].quorum:
            message = f"with {zones} zones, one holds the majority of {part.component}: losing it stops the release"
            yield Violation("zones", message, "set zones: 3 if the cluster has them")


def _single(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    for part in subject.plan.parts():
        if subject.plan.components[part.component].redundant and part.values.least < 2:
            message = "a single pod: no requests are served while it moves to another node"
            yield Violation(part.key, message, "set replicas: 2, or autoscale: {min: 2, max: 6}")


def _alone(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    for part in subject.plan.parts():
        if part.component == "vector-engine" and part.kind == "StatefulSet":
            message = "a single Milvus: a restart or a lost node interrupts searches for seconds to minutes"
            yield Violation("components.vector-engine.topology", message, "set topology: cluster, or standalone-ha")


RULES = (
    Rule("autoscale-range", "an autoscaler's minimum is at most its maximum", Severity.ERROR, _range),
    Rule("autoscale-and-replicas", "an autoscaled component sets no replicas", Severity.ERROR, _fixed),
    Rule("autoscale-no-metric", "an autoscaler has a metric to scale by", Severity.ERROR, _blind),
    Rule("budget-blocks-eviction", "a disruption budget allows evictions", Severity.ERROR, _budget),
    Rule("etcd-even-members", "etcd has an odd number of members", Severity.ERROR, _odd),
    Rule("quorum-zones", "no zone holds the majority of etcd", Severity.WARNING, _quorum),
    Rule("single-replica", "components that serve clients have two pods in production", Severity.WARNING, _single),
    Rule("single-milvus", "Milvus survives the loss of a pod", Severity.WARNING, _alone),
)
