"""Plans how objects are applied: ConfigMaps and Secrets first, then workloads with a digest of what they read."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.deploy.apply import generate, plan_changes
from lightragctl.deploy.changeset import Change
from lightragctl.deploy.config_digest import ConfigContent, with_config_digest
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import WORKLOAD_KINDS
from lightragctl.kube.scope import Scope
from lightragctl.observe.pod_config import config_references


@dataclass(frozen=True)
class ApplyPlan:
    """The objects to apply.

    Attributes:
        objects: as they will be applied.
        changes: of each, in the same order.
        generated: values for Secrets with generated keys that are missing.
    """

    objects: tuple[KubernetesObject, ...]
    changes: tuple[Change, ...]
    generated: Mapping[ObjectRef, Mapping[str, str]] = field(repr=False)


def plan_apply(
    scope: Scope,
    wanted: Sequence[KubernetesObject],
    live: Mapping[ObjectRef, dict[str, Any]],
    *,
    namespace_is_new: bool,
) -> ApplyPlan:
    """The changes that applying the objects would make, by a server-side dry run; writes nothing.

    Raises:
        LightragctlError: an object would be rejected, or cannot be changed as wanted.
    """
    settings = [thing for thing in wanted if thing["kind"] not in WORKLOAD_KINDS]
    workloads = [thing for thing in wanted if thing["kind"] in WORKLOAD_KINDS]
    first = plan_changes(scope, settings, live, namespace_is_new=namespace_is_new)
    after = {one.identity: one.after for one in first if one.after is not None}
    generated = {identity: values for identity, thing in after.items() if (values := generate(thing))}
    for identity, values in generated.items():
        after[identity] = {**after[identity], "data": {**(after[identity].get("data") or {}), **values}}
    content = ConfigContent(after, live)
    if not namespace_is_new:
        content = _with_others(scope, content, workloads)
    pods = [] if namespace_is_new else scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    noted = [with_config_digest(thing, live.get(ref(thing)), content, pods) for thing in workloads]
    reasons = {ref(thing): reason for thing, reason in noted if reason}
    second = plan_changes(scope, [thing for thing, _ in noted], live, namespace_is_new=namespace_is_new)
    changes = {one.identity: replace(one, note=reasons.get(one.identity, one.note)) for one in (*first, *second)}
    objects = {ref(thing): thing for thing in (*settings, *(thing for thing, _ in noted))}
    names = [ref(thing) for thing in wanted]
    return ApplyPlan(tuple(objects[one] for one in names), tuple(changes[one] for one in names), generated)


def _with_others(scope: Scope, content: ConfigContent, workloads: Sequence[KubernetesObject]) -> ConfigContent:
    """The content with what workloads read of objects of others, as far as permissions allow."""
    found: dict[ObjectRef, dict[str, Any]] = {}
    for identity in sorted(set().union(*map(config_references, workloads)) - content.after.keys()):
        with suppress(ForbiddenError):
            if there := scope.cluster.get(identity):
                found[identity] = there
    return ConfigContent({**content.after, **found}, {**content.before, **found})
