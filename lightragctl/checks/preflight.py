"""What must hold before anything is written: kinds served, permissions, room in the quotas. Reads only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lightragctl.checks.quota import quota_shortfalls
from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import Cluster, ForbiddenError, KindNotServedError, ResourceAttributes

_WATCHED = (
    ("", "pods"),
    ("", "events"),
    ("", "persistentvolumeclaims"),
    ("apps", "replicasets"),
    ("autoscaling", "horizontalpodautoscalers"),
)
"""What is read to tell whether components are ready, and why not, and who scales them."""


class QuotaError(LightragctlError):
    """A quota of the namespace leaves too little room."""

    code = "quota"


def check_kinds(cluster: Cluster, objects: Iterable[KubernetesObject]) -> None:
    """Refuse objects that the cluster does not know.

    Raises:
        KindNotServedError: names them all.
    """
    kinds = sorted({(str(thing["apiVersion"]), str(thing["kind"])) for thing in objects})
    missing = [f"{kind} of {version}" for version, kind in kinds if cluster.resource(version, kind) is None]
    if missing:
        message = f"cluster {cluster.name} does not serve {', '.join(missing)}"
        raise KindNotServedError(message, "install what brings it, or use a newer Kubernetes")


def check_rights(cluster: Cluster, namespace: str, questions: Sequence[ResourceAttributes]) -> None:
    """Ask the API server before the first write whether we may do all of it.

    Raises:
        ForbiddenError: lists what is missing, with the rule that would grant it.
    """
    questions = list(dict.fromkeys(questions))
    if cluster.allowed(ResourceAttributes("*", "*", "*", namespace)):
        questions = [question for question in questions if not question.namespace]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(cluster.allowed, questions))
    denied = [question for question, allowed in zip(questions, answers, strict=True) if not allowed]
    if denied:
        missing = "\n".join(f"    {question}" for question in denied)
        message = f"in namespace {namespace} of cluster {cluster.name} we may not:\n{missing}"
        raise ForbiddenError(message, f"ask for a Role with these rules, or use another context:\n{rbac_rules(denied)}")


def access_of_up(
    cluster: Cluster, objects: Iterable[KubernetesObject], namespace: str, namespace_is_new: bool
) -> list[ResourceAttributes]:
    """What bringing the objects up asks of the API server."""
    kinds = {(str(thing["apiVersion"]), str(thing["kind"])) for thing in objects} | {("v1", "ConfigMap")}
    asked = [ResourceAttributes("list", group, plural, namespace) for group, plural in _WATCHED]
    asked += _bookkeeping(namespace)
    if any(kind == "StatefulSet" for _, kind in kinds):
        asked += [ResourceAttributes("delete", "", "pods", namespace)]  # one that is stuck
    for version, kind in sorted(kinds):
        resource = cluster.resource(version, kind)
        if resource is None:
            continue
        if kind == "Namespace":
            asked += [ResourceAttributes("create", "", "namespaces", "")] if namespace_is_new else []
            continue
        verbs = ("get", "list", "create", "patch", "delete")
        where = namespace if resource.namespaced else ""
        asked += [ResourceAttributes(verb, resource.group, resource.plural, where) for verb in verbs]
    return asked


def _bookkeeping(namespace: str) -> list[ResourceAttributes]:
    """What the lock, the inventory and the revisions ask of the API server."""
    asked = [ResourceAttributes("get", "", "namespaces", namespace)]
    asked += [
        ResourceAttributes(verb, "coordination.k8s.io", "leases", namespace) for verb in ("get", "create", "update")
    ]
    return asked + [ResourceAttributes(verb, "", "configmaps", namespace) for verb in ("get", "list", "update")]


def access_to_delete(cluster: Cluster, recorded: Iterable[ObjectRef], namespace: str) -> list[ResourceAttributes]:
    """What deleting objects of these kinds asks of the API server."""
    kinds = sorted({(one.api_version, one.kind) for one in recorded if one.kind != "Namespace"})
    served = [resource for kind in kinds if (resource := cluster.resource(*kind))]
    return [
        ResourceAttributes(verb, one.group, one.plural, namespace if one.namespaced else "")
        for one in served
        for verb in ("get", "delete")
    ]


def access_of_down(cluster: Cluster, recorded: Iterable[ObjectRef], namespace: str) -> list[ResourceAttributes]:
    """What stopping a release of these objects asks of the API server."""
    read = (("", "pods"), ("", "persistentvolumeclaims"), ("apps", "deployments"), ("apps", "statefulsets"))
    asked = [
        *_bookkeeping(namespace),
        *(ResourceAttributes("list", group, plural, namespace) for group, plural in read),
    ]
    return asked + access_to_delete(cluster, recorded, namespace)


def access_of_purge(namespace: str, owns_namespace: bool) -> list[ResourceAttributes]:
    """What deleting a release's data and its bookkeeping asks of the API server, beside what `down` does."""
    asked = [ResourceAttributes(verb, "", "secrets", namespace) for verb in ("get", "list", "delete")]
    asked += [
        ResourceAttributes("delete", "", plural, namespace) for plural in ("persistentvolumeclaims", "configmaps")
    ]
    asked += [ResourceAttributes("delete", "coordination.k8s.io", "leases", namespace)]
    return asked + ([ResourceAttributes("delete", "", "namespaces", namespace)] if owns_namespace else [])


def access_of_unlock(namespace: str) -> list[ResourceAttributes]:
    """What taking the lock away asks of the API server."""
    return [ResourceAttributes(verb, "coordination.k8s.io", "leases", namespace) for verb in ("get", "update")]


def rbac_rules(denied: Sequence[ResourceAttributes]) -> str:
    """The RBAC rules that would allow it, as YAML."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for one in denied:
        name = one.resource + (f"/{one.subresource}" if one.subresource else "")
        verbs.setdefault((one.group, name), []).append(one.verb)
    lines = [
        f'    - {{apiGroups: ["{group}"], resources: [{resource}], verbs: [{", ".join(sorted(set(names)))}]}}'
        for (group, resource), names in sorted(verbs.items())
    ]
    return "\n".join(lines)


def check_quota(quotas: Sequence[KubernetesObject], wanted: Counter[str], present: Counter[str]) -> None:
    """Refuse what the namespace's quotas would not let run.

    Args:
        quotas: as they will be: our own as rendered, with the status of the live one.
        wanted: what the release will ask for, from `quota.requested`.
        present: what is counted of it already, from `quota.usage`.

    Raises:
        QuotaError: names each resource with the numbers.
    """
    if missing := quota_shortfalls(quotas, wanted, present):
        lines = "\n".join(f"    {one}" for one in missing)
        hint = "raise the quota (profile key quota), or lower replicas and resources of the components"
        raise QuotaError(f"the namespace's quota has no room for the release:\n{lines}", hint)
