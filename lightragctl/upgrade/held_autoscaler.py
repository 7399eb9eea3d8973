"""Keeps the autoscaler of a component from scaling down while its canary is watched. I/O through the cluster.

A canary takes requests from the stable pods: their autoscaler would remove some, and the share of the canary and the
load of the stable pods would change with it. Scaling up stays allowed.
"""

from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.scope import Scope

_MANAGER = "lightragctl-upgrade"
_DISABLED = "Disabled"


def scaler_ref(scope: Scope, component: str) -> ObjectRef:
    """The autoscaler that `up` makes for a component."""
    name = f"{scope.release}-{component}"
    return ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", scope.namespace, name)


def scale_down_policy(scaler: KubernetesObject) -> str | None:
    """How the autoscaler chooses between policies for scaling down; None where it does not say."""
    behavior = (scaler["spec"].get("behavior") or {}).get("scaleDown") or {}
    found = behavior.get("selectPolicy")
    return None if found is None else str(found)


def hold(scope: Scope, component: str) -> None:
    """Keep the autoscaler from scaling down."""
    _apply(scope, component, {"behavior": {"scaleDown": {"selectPolicy": _DISABLED}}})


def is_held(scope: Scope, component: str) -> bool:
    """Whether it does not scale down, or does not exist."""
    there = scope.cluster.get(scaler_ref(scope, component))
    return there is None or scale_down_policy(there) == _DISABLED


def give_back(scope: Scope, component: str, policy: str | None) -> None:
    """Set the policy from before; None: it had none."""
    _apply(scope, component, {"behavior": {"scaleDown": {"selectPolicy": policy}}} if policy else {})


def _apply(scope: Scope, component: str, spec: dict[str, Any]) -> None:
    identity = scaler_ref(scope, component)
    there = scope.cluster.get(identity)
    if there is None:
        return
    metadata = {"name": identity.name, "namespace": identity.namespace, "uid": there["metadata"]["uid"]}
    thing = {"apiVersion": identity.api_version, "kind": identity.kind, "metadata": metadata}
    scope.cluster.apply({**thing, "spec": spec} if spec else thing, force=True, manager=_MANAGER)
