"""What is unsafe in a plan, before anything is written: rules over the profile, its objects and the cluster. Pure.

A rule is an entry of `RULES` in a module of `lightragctl.checks.rules`. It yields what it finds; a rule that needs a
fact of the cluster that could not be read finds nothing, and `skipped_checks` reports it. An earlier revision has no
plan: only what its objects need of the cluster is checked, which may have changed since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from lightragctl.core.component import Plan
from lightragctl.core.discovery import declared
from lightragctl.core.errors import RefusedError
from lightragctl.core.findings import Check, Finding, Severity, Skipped
from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.objects import WORKLOAD_KINDS


@dataclass(frozen=True)
class ClusterFacts:
    """What the cluster has of what a release needs; None where it could not be read.

    Attributes:
        nodes: its nodes.
        storage_classes, priority_classes, ingress_classes: the objects.
        secrets, claims: names of the Secrets and the volume claims in the namespace.
        namespace: the release's namespace; an empty map when it is new.
        pods: those of the namespace.
        metrics: whether pods' CPU use can be asked for, which autoscalers need.
        external_metrics: whether external metrics can.
        reasons: by name of a fact, why it could not be read; of those that we may not read nothing.
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
    """Objects that are judged, of a plan or of an earlier revision.

    Attributes:
        objects: of the release.
        namespace: of the release.
        autoscaled_nodes: labels of nodes that are made when pods ask for them.
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
    """A plan that is judged, with its objects."""

    plan: Plan


def rendered_plan(
    plan: Plan, objects: Sequence[KubernetesObject], facts: ClusterFacts = ClusterFacts()
) -> RenderedPlan:
    """The plan and its objects, to be judged."""
    autoscaled_nodes = [pool.node_selector for pool in (plan.profile.pools or {}).values() if pool.autoscaled]
    return RenderedPlan(objects, plan.profile.namespace, autoscaled_nodes, facts, plan=plan)


class Rule(Check[RenderedPlan]):
    """A rule about a plan and its objects."""


class ClusterRule(Check[RenderedObjects]):
    """A rule that asks only whether the cluster has what objects need to run: it holds for earlier revisions too."""


def rules() -> tuple[Rule | ClusterRule, ...]:
    """Every rule, by module and in the modules' order."""
    return tuple(rule for group in declared("lightragctl.checks.rules", "RULES", tuple) for rule in group)


def lint(subject: RenderedObjects) -> list[Finding]:
    """What the rules find, errors first; without a plan only what the cluster lacks."""
    found = [one for rule in rules() for one in _judged(rule, subject)]
    return sorted(found, key=lambda one: one.severity)


def _judged(rule: Rule | ClusterRule, subject: RenderedObjects) -> Iterable[Finding]:
    if isinstance(rule, ClusterRule):
        return rule.findings(subject)
    return rule.findings(subject) if isinstance(subject, RenderedPlan) else ()


def skipped_checks(facts: ClusterFacts) -> list[Skipped]:
    """What could not be read of the cluster, so that rules about it were not judged."""
    missing = [one.name for one in fields(facts) if getattr(facts, one.name) is None]
    closed = [name.replace("_", " ") for name in missing if name not in facts.reasons]
    down = [f"{name.replace('_', ' ')} ({facts.reasons[name]})" for name in missing if name in facts.reasons]
    told = [
        (closed, f"not checked, because we may not read them: {', '.join(closed)}", "ask for the right to list them"),
        (down, f"not checked: {', '.join(down)}", "see which part of the API is down: kubectl get apiservices"),
    ]
    return [Skipped("cluster", text, hint) for some, text, hint in told if some]


def refuse_errors(findings: Sequence[Finding], what: str) -> None:
    """Stop at errors.

    Raises:
        RefusedError: there are some; names them all, each with its way out.
    """
    errors = [one for one in findings if one.severity is Severity.ERROR]
    if not errors:
        return
    lines = "\n".join(f"    {one} ({one.code})\n        {one.hint}" for one in errors)
    raise RefusedError(f"{what} is not safe:\n{lines}", "mend these and run it again")
