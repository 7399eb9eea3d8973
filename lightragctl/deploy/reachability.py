"""Checks before a stream to a pod: permissions, and whether its node is ready. Reads only."""

from lightragctl.checks.preflight import refuse_denied
from lightragctl.core.errors import UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.model import ForbiddenError, ResourceAttributes
from lightragctl.kube.objects import condition, spec_of, status_of
from lightragctl.kube.scope import Scope

_VERBS = ("get", "create")
"""A stream over a websocket is a GET; newer API servers require `create` too."""


def refuse_stream(scope: Scope, subresource: str, pod: KubernetesObject) -> None:
    """Refuse a stream that cannot be opened.

    Args:
        scope: of the release.
        subresource: of the pod: `exec` or `portforward`.
        pod: the target.

    Raises:
        ForbiddenError: the permission is missing.
        UnavailableError: the pod's node is not ready.
    """
    refuse_forbidden(scope, subresource)
    if problem := node_problem(scope, pod):
        hint = Hint("check the node: kubectl get nodes; or wait until its pods have moved: ", Command("status"))
        raise UnavailableError(f"Pod/{pod['metadata']['name']} is unreachable: {problem}", hint)


def refuse_forbidden(scope: Scope, subresource: str) -> None:
    """Refuse streams without permission.

    Raises:
        ForbiddenError: gives the permission and the RBAC rule that grants it.
    """
    verbs = [ResourceAttributes(verb, "", "pods", scope.namespace, subresource) for verb in _VERBS]
    denied = [one for one in verbs if not scope.cluster.allowed(one)]
    if len(denied) == len(verbs):
        refuse_denied(scope.cluster, scope.namespace, denied)


def node_problem(scope: Scope, pod: KubernetesObject) -> str:
    """Why the pod's node is not ready; empty if it is ready, or without permission to read nodes."""
    name = str(spec_of(pod).get("nodeName") or "")
    try:
        node = scope.cluster.get(ObjectRef("v1", "Node", "", name)) if name else {}
    except ForbiddenError:
        return ""
    if node is None:
        return f"its node {name} is gone"
    ready = condition(status_of(node), "Ready")
    if ready.get("status", "True") == "True":
        return ""
    since = f" since {ready['lastTransitionTime']}" if ready.get("lastTransitionTime") else ""
    return f"its node {name} is not ready{since}: {ready.get('message') or ready.get('reason') or 'not ready'}"
