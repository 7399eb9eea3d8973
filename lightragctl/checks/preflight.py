"""Checks before the first write: served kinds, permissions, quotas. Reads only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lightragctl.checks.quota import exceeded_quotas
from lightragctl.core.errors import LightragctlError
from lightragctl.core.findings import Finding, Severity
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
"""Read to determine readiness, its causes, and autoscalers."""


class QuotaError(LightragctlError):
    """A quota of the namespace would be exceeded."""

    code = "quota"


def check_kinds(cluster: Cluster, objects: Iterable[KubernetesObject]) -> None:
    """Refuse objects of kinds that the cluster does not serve.

    Raises:
        KindNotServedError: lists the kinds.
    """
    kinds = sorted({(str(thing["apiVersion"]), str(thing["kind"])) for thing in objects})
    missing = [f"{kind} of {version}" for version, kind in kinds if cluster.resource(version, kind) is None]
    if missing:
        message = f"cluster {cluster.name} does not serve {', '.join(missing)}"
        raise KindNotServedError(message, "install the operator or CRD that provides it, or upgrade Kubernetes")


def check_rights(cluster: Cluster, namespace: str, requests: Sequence[ResourceAttributes]) -> None:
    """Check all permissions with the API server before the first write.

    Raises:
        ForbiddenError: lists the missing permissions, with the RBAC rules that grant them.
    """
    requests = list(dict.fromkeys(requests))
    if cluster.allowed(ResourceAttributes("*", "*", "*", namespace)):
        requests = [request for request in requests if not request.namespace]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(cluster.allowed, requests))
    denied = [request for request, allowed in zip(requests, answers, strict=True) if not allowed]
    refuse_denied(cluster, namespace, denied)


def permission_findings(namespace: str, denied: Sequence[ResourceAttributes]) -> list[Finding]:
    """The requests that RBAC denies; the hint of each has the rules that would allow all of them."""
    hint = f"request a Role with these rules, or use another context:\n{_rbac_rules(denied)}"
    subject = f"Namespace/{namespace}"
    return [Finding("missing-permission", subject, str(one), hint, severity=Severity.ERROR) for one in denied]


def refuse_denied(cluster: Cluster, namespace: str, denied: Sequence[ResourceAttributes]) -> None:
    """Stop at denied requests.

    Raises:
        ForbiddenError: lists them, with the RBAC rules that would allow them.
    """
    if found := permission_findings(namespace, denied):
        lines = "\n".join(f"    {one.message}" for one in found)
        message = f"missing permissions in namespace {namespace} of cluster {cluster.name}:\n{lines}"
        raise ForbiddenError(message, found[0].hint)


def access_of_up(
    cluster: Cluster, objects: Iterable[KubernetesObject], namespace: str, namespace_is_new: bool
) -> list[ResourceAttributes]:
    """The requests of `up` for these objects."""
    kinds = {(str(thing["apiVersion"]), str(thing["kind"])) for thing in objects} | {("v1", "ConfigMap")}
    needed = [ResourceAttributes("list", group, plural, namespace) for group, plural in _WATCHED]
    needed += _bookkeeping(namespace)
    if any(kind == "StatefulSet" for _, kind in kinds):
        needed += [ResourceAttributes("delete", "", "pods", namespace)]  # one that is stuck
    for version, kind in sorted(kinds):
        resource = cluster.resource(version, kind)
        if resource is None:
            continue
        if kind == "Namespace":
            needed += [ResourceAttributes("create", "", "namespaces", "")] if namespace_is_new else []
            continue
        verbs = ("get", "list", "create", "patch", "delete")
        where = namespace if resource.namespaced else ""
        needed += [ResourceAttributes(verb, resource.group, resource.plural, where) for verb in verbs]
    return needed


def _bookkeeping(namespace: str) -> list[ResourceAttributes]:
    """The requests for the lock, the inventory and the revisions."""
    needed = [ResourceAttributes("get", "", "namespaces", namespace)]
    needed += [
        ResourceAttributes(verb, "coordination.k8s.io", "leases", namespace) for verb in ("get", "create", "update")
    ]
    return needed + [ResourceAttributes(verb, "", "configmaps", namespace) for verb in ("get", "list", "update")]


def access_to_delete(cluster: Cluster, recorded: Iterable[ObjectRef], namespace: str) -> list[ResourceAttributes]:
    """The requests that delete objects of these kinds."""
    kinds = sorted({(one.api_version, one.kind) for one in recorded if one.kind != "Namespace"})
    served = [resource for kind in kinds if (resource := cluster.resource(*kind))]
    return [
        ResourceAttributes(verb, one.group, one.plural, namespace if one.namespaced else "")
        for one in served
        for verb in ("get", "delete")
    ]


def access_of_down(cluster: Cluster, recorded: Iterable[ObjectRef], namespace: str) -> list[ResourceAttributes]:
    """The requests of `down` for these objects."""
    read = (("", "pods"), ("", "persistentvolumeclaims"), ("apps", "deployments"), ("apps", "statefulsets"))
    needed = [
        *_bookkeeping(namespace),
        *(ResourceAttributes("list", group, plural, namespace) for group, plural in read),
    ]
    return needed + access_to_delete(cluster, recorded, namespace)


def access_of_purge(namespace: str, owns_namespace: bool) -> list[ResourceAttributes]:
    """The requests of `down --purge`, besides those of `down`."""
    needed = [ResourceAttributes(verb, "", "secrets", namespace) for verb in ("get", "list", "delete")]
    needed += [
        ResourceAttributes("delete", "", plural, namespace) for plural in ("persistentvolumeclaims", "configmaps")
    ]
    needed += [ResourceAttributes("delete", "coordination.k8s.io", "leases", namespace)]
    return needed + ([ResourceAttributes("delete", "", "namespaces", namespace)] if owns_namespace else [])


def access_of_unlock(namespace: str) -> list[ResourceAttributes]:
    """The requests of `unlock`."""
    return [ResourceAttributes(verb, "coordination.k8s.io", "leases", namespace) for verb in ("get", "update")]


def _rbac_rules(denied: Sequence[ResourceAttributes]) -> str:
    """The RBAC rules that allow the requests, as YAML."""
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
    """Refuse a release that would exceed the namespace's quotas.

    Args:
        quotas: those of the namespace after the change: our own as rendered, with the live status.
        wanted: what the release will use, from `quota.requested`.
        present: the part that the quota counts already, from `quota.usage`.

    Raises:
        QuotaError: lists each resource with the amounts.
    """
    if exceeded := exceeded_quotas(quotas, wanted, present):
        lines = "\n".join(f"    {one}" for one in exceeded)
        raise QuotaError(f"the release would exceed the namespace's quota:\n{lines}", exceeded[0].hint)
