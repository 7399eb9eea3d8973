"""Whether a pod can be reached by a stream: the right to it, and a node that answers. Reads only."""

from lightragctl.checks.preflight import rbac_rules
from lightragctl.core.errors import UnavailableError
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.model import ForbiddenError, ResourceAttributes
from lightragctl.kube.objects import condition, spec_of, status_of
from lightragctl.kube.scope import Scope

_VERBS = ("get", "create")
"""A stream over a websocket is a GET; newer API servers ask for the right to create it too."""


def refuse_stream(scope: Scope, subresource: str, pod: KubernetesObject) -> None:
    """Stop before a stream is opened that cannot come about.

    Args:
        scope: of the release.
        subresource: of the pod: `exec` or `portforward`.
        pod: which it leads to.

    Raises:
        ForbiddenError: we have not the right to it.
        UnavailableError: the pod's node does not answer.
    """
    refuse_forbidden(scope, subresource)
    if problem := node_problem(scope, pod):
        hint = "bring the node back: kubectl get nodes; or wait until its pods have moved: lightragctl status"
        raise UnavailableError(f"Pod/{pod['metadata']['name']} cannot be reached: {problem}", hint)


def refuse_forbidden(scope: Scope, subresource: str) -> None:
    """Stop where we have not the right to such streams.

    Raises:
        ForbiddenError: names the right, with the rule that would grant it.
    """
    asked = [ResourceAttributes(verb, "", "pods", scope.namespace, subresource) for verb in _VERBS]
    denied = [one for one in asked if not scope.cluster.allowed(one)]
    if len(denied) == len(asked):
        message = f"in namespace {scope.namespace} of cluster {scope.cluster.name} we may not {denied[-1]}"
        raise ForbiddenError(message, f"ask for a Role with this rule, or use another context:\n{rbac_rules(denied)}")


def node_problem(scope: Scope, pod: KubernetesObject) -> str:
    """Why the pod's node does not answer, in words; empty when it does, or when we may not look."""
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
    return f"its node {name} does not answer{since}: {ready.get('message') or ready.get('reason') or 'not ready'}"
