"""What must hold before anything is written: kinds served, permissions, room in the quotas. Reads only."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject
from lightragctl.deploy.quota import demand, shortfalls
from lightragctl.kube.model import Access, Cluster, ForbiddenError, KindNotServedError

WORKERS = 16
"""Calls in flight: an API server on two cores answers no faster with more."""
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


def check_access(cluster: Cluster, objects: Iterable[KubernetesObject], namespace: str, namespace_is_new: bool) -> None:
    """Refuse to begin what we would not be allowed to finish.

    Raises:
        ForbiddenError: lists what is missing, with the rule that would grant it.
    """
    questions = needed_access(cluster, objects, namespace, namespace_is_new)
    if cluster.allowed(Access("*", "*", "*", namespace)):
        questions = [question for question in questions if not question.namespace]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(cluster.allowed, questions))
    denied = [question for question, allowed in zip(questions, answers, strict=True) if not allowed]
    if denied:
        missing = "\n".join(f"    {question}" for question in denied)
        message = f"in namespace {namespace} of cluster {cluster.name} we may not:\n{missing}"
        raise ForbiddenError(message, f"ask for a Role with these rules, or use another context:\n{rules(denied)}")


def needed_access(
    cluster: Cluster, objects: Iterable[KubernetesObject], namespace: str, namespace_is_new: bool
) -> list[Access]:
    """What bringing the objects up asks of the API server."""
    kinds = {(str(thing["apiVersion"]), str(thing["kind"])) for thing in objects} | {("v1", "ConfigMap")}
    asked = [Access("list", group, plural, namespace) for group, plural in _WATCHED]
    asked += [Access(verb, "coordination.k8s.io", "leases", namespace) for verb in ("get", "create", "update")]
    asked += [Access("update", "", "configmaps", namespace)]  # the record and the revisions
    asked += [Access("get", "", "namespaces", namespace)]  # whether it is there, and whose it is
    if any(kind == "StatefulSet" for _, kind in kinds):
        asked += [Access("delete", "", "pods", namespace)]  # one that is stuck
    for version, kind in sorted(kinds):
        resource = cluster.resource(version, kind)
        if resource is None:
            continue
        if kind == "Namespace":
            asked += [Access("create", "", "namespaces", "")] if namespace_is_new else []
            continue
        verbs = ("get", "list", "create", "patch", "delete")
        where = namespace if resource.namespaced else ""
        asked += [Access(verb, resource.group, resource.plural, where) for verb in verbs]
    return asked


def rules(denied: Sequence[Access]) -> str:
    """The RBAC rules that would allow it, as YAML."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for one in denied:
        verbs.setdefault((one.group, one.resource), []).append(one.verb)
    lines = [
        f'    - {{apiGroups: ["{group}"], resources: [{resource}], verbs: [{", ".join(sorted(set(names)))}]}}'
        for (group, resource), names in sorted(verbs.items())
    ]
    return "\n".join(lines)


def check_quota(
    quotas: Sequence[KubernetesObject], wanted: Sequence[KubernetesObject], live: Sequence[KubernetesObject]
) -> None:
    """Refuse what the namespace's quotas would not let run.

    Args:
        quotas: as they will be: our own as rendered, with the status of the live one.
        wanted: the objects of the release.
        live: the workloads of the release that are there now.

    Raises:
        QuotaError: names each resource with the numbers.
    """
    if missing := shortfalls(quotas, demand(wanted), demand(live)):
        lines = "\n".join(f"    {one}" for one in missing)
        hint = "raise the quota (profile key quota), or lower replicas and resources of the components"
        raise QuotaError(f"the namespace's quota has no room for the release:\n{lines}", hint)
