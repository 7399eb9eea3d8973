"""Checks a plan before anything is written: rules for its profile, its objects and the cluster. Pure.

A rule is an entry of `RULES` in a module of `lightragctl.checks.rules` and yields violations. A rule that needs facts
of the cluster that could not be read yields none; `skipped_checks` reports these. An earlier revision has no plan: only
the cluster rules apply to it, as the cluster may have changed since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from lightragctl.core.component import Plan
from lightragctl.core.discovery import declared
from lightragctl.core.errors import RefusedError
from lightragctl.core.findings import Check, Finding, Severity, Skipped
from lightragctl.core.hint import Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import WORKLOAD_KINDS


@dataclass(frozen=True)
class ClusterFacts:
    """The state of the cluster that rules refer to; None: could not be read.

    Attributes:
        nodes: its nodes.
        storage_classes, priority_classes, ingress_classes: the objects.
        secrets, claims: names of the Secrets and the volume claims in the namespace.
        namespace: the release's namespace; an empty map if it does not exist yet.
        pods: in the namespace.
        metrics: whether the CPU metrics of pods are served, which autoscalers need.
        external_metrics: whether external metrics are served.
        reasons: by the name of a fact, why it could not be read; missing permissions are not listed.
    """

    nodes: Sequence[KubernetesObject] | None = None
    storage_classes: Sequence[KubernetesObject] | None = None
    priority_classes: Sequence[KubernetesObject] | None = None
    ingress_classes: Sequence[KubernetesObject] | None = None
    secrets: frozenset[str] | None = None
    claims: frozenset[str] | None = None
    namespace: Mapping[str, Any] | None = None
    pods: Sequence[KubernetesObject] | None = None
    metrics: bool | None = None
    external_metrics: bool | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RenderedObjects:
    """Objects to check, of a plan or of an earlier revision.

    Attributes:
        objects: of the release.
        namespace: of the release.
        autoscaled_nodes: labels of the nodes that a cluster autoscaler adds.
        facts: of the cluster.
    """

    objects: Sequence[KubernetesObject]
    namespace: str
    autoscaled_nodes: Sequence[Mapping[str, str]] = ()
    facts: ClusterFacts = ClusterFacts()

    def of_kind(self, *kinds: str) -> list[KubernetesObject]:
        """The objects of these kinds."""
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def pods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The pod of each workload, `Kind/name` and its spec."""
        for thing in self.of_kind(*WORKLOAD_KINDS):
            yield f"{thing['kind']}/{thing['metadata']['name']}", thing["spec"]["template"]["spec"]

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each container of each workload, with the workload's `Kind/name`."""
        for name, pod in self.pods():
            for container in pod["containers"]:
                yield name, container


@dataclass(frozen=True, kw_only=True)
class RenderedPlan(RenderedObjects):
    """A plan to check, with its objects."""

    plan: Plan


def rendered_plan(
    plan: Plan, objects: Sequence[KubernetesObject], facts: ClusterFacts = ClusterFacts()
) -> RenderedPlan:
    """The plan and its objects as the rules take them."""
    autoscaled_nodes = [pool.node_selector for pool in (plan.profile.pools or {}).values() if pool.autoscaled]
    return RenderedPlan(objects, plan.profile.namespace, autoscaled_nodes, facts, plan=plan)


class Rule(Check[RenderedPlan]):
    """A rule for a plan and its objects."""


class ClusterRule(Check[RenderedObjects]):
    """A rule for what objects require of the cluster; it applies to earlier revisions too."""


def all_rules() -> tuple[Rule | ClusterRule, ...]:
    """Every rule, by module and in the modules' order."""
    return tuple(rule for group in declared("lightragctl.checks.rules", "RULES", tuple) for rule in group)


def lint(subject: RenderedObjects) -> list[Finding]:
    """The findings of all rules, errors first; without a plan those of the cluster rules."""
    found = [one for rule in all_rules() for one in _findings(rule, subject)]
    return sorted(found, key=lambda one: one.severity)


def _findings(rule: Rule | ClusterRule, subject: RenderedObjects) -> Iterable[Finding]:
    if isinstance(rule, ClusterRule):
        return rule.findings(subject)
    return rule.findings(subject) if isinstance(subject, RenderedPlan) else ()


def skipped_checks(facts: ClusterFacts) -> list[Skipped]:
    """Facts of the cluster that could not be read, so that rules for them were skipped."""
    missing = [one.name for one in fields(facts) if getattr(facts, one.name) is None]
    closed = [name.replace("_", " ") for name in missing if name not in facts.reasons]
    down = [f"{name.replace('_', ' ')} ({facts.reasons[name]})" for name in missing if name in facts.reasons]
    skipped = [
        (closed, f"not checked, no permission to list: {', '.join(closed)}", "request the permission to list them"),
        (down, f"not checked: {', '.join(down)}", "see which API services are down: kubectl get apiservices"),
    ]
    return [Skipped("cluster", text, hint) for names, text, hint in skipped if names]


def refuse_errors(findings: Sequence[Finding], what: str) -> None:
    """Stop at errors.

    Raises:
        RefusedError: lists every error with its hint.
    """
    errors = [one for one in findings if one.severity is Severity.ERROR]
    if not errors:
        return
    lines = [part for one in errors for part in (f"\n    {one} ({one.code})\n        ", one.hint)]
    raise RefusedError(Hint(f"{what} is not safe:", *lines), "fix these and retry")
