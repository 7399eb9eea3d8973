"""Rules about the cluster: zones, schedulable nodes, storage classes, metrics APIs, Secrets."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lightragctl.checks.lint import ClusterRule, RenderedObjects, RenderedPlan, Rule
from lightragctl.checks.quota import requested
from lightragctl.core.findings import Severity, Violation
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.quantity import quantity, words
from lightragctl.kube.labels import DEFAULT_STORAGE_CLASS, INSTANCE, POD_SECURITY, RELEASE, ZONE
from lightragctl.kube.objects import annotations_of, labels_of, spec_of, status_of


def _fits(node: KubernetesObject, pod: Mapping[str, Any]) -> bool:
    """Whether the pod's node selector and tolerations match the node, regardless of free resources."""
    wanted = pod.get("nodeSelector") or {}
    if not wanted.items() <= labels_of(node).items():
        return False
    taints = [one for one in spec_of(node).get("taints") or () if one.get("effect") != "PreferNoSchedule"]
    return all(any(_tolerates(one, taint) for one in pod.get("tolerations") or ()) for taint in taints)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("key") not in (None, taint["key"]) or toleration.get("effect") not in (None, taint["effect"]):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _is_autoscaled(subject: RenderedObjects, pod: Mapping[str, Any]) -> bool:
    """Whether a cluster autoscaler adds nodes for the pod."""
    return pod.get("nodeSelector") in subject.autoscaled_nodes


def _requests(pod: Mapping[str, Any]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for container in pod["containers"]:
        for name, amount in ((container.get("resources") or {}).get("requests") or {}).items():
            total[name] = total.get(name, Decimal(0)) + quantity(amount)
    return total


def _nodes(subject: RenderedObjects) -> Iterator[Violation]:
    nodes = subject.facts.nodes or ()
    unschedulable: dict[str, list[str]] = {}
    for where, pod in subject.pods() if nodes else ():
        if _is_autoscaled(subject, pod):
            continue
        matching = [node for node in nodes if _fits(node, pod)]
        if matching:
            yield from _too_large(where, pod, matching)
        else:
            labels = ",".join(f"{key}={value}" for key, value in (pod.get("nodeSelector") or {}).items())
            unschedulable.setdefault(labels, []).append(where)
    for labels, pods in unschedulable.items():
        selected = f"no node matches {labels} with tolerated taints" if labels else "every node has a taint"
        hint = f"label nodes: kubectl label node NAME {labels.replace(',', ' ')}; or change pools in the profile"
        message = f"{selected}; unschedulable: {', '.join(pods)}"
        yield Violation("nodes", message, hint if labels else "see the taints: kubectl describe nodes")


def _too_large(where: str, pod: Mapping[str, Any], nodes: Sequence[KubernetesObject]) -> Iterator[Violation]:
    for name, wanted in _requests(pod).items():
        most = max(quantity(_allocatable(node).get(name, 0)) for node in nodes)
        if wanted > most:
            needed, largest = words(wanted, name), words(most, name)
            message = f"its pods request {name} {needed}; the largest matching node has {largest} allocatable"
            yield Violation(where, message, f"lower resources.requests.{name}, or add larger nodes to the pool")


def _crowded(subject: RenderedObjects) -> Iterator[Violation]:
    """Requests of all pods, autoscalers at their minimum, against all nodes; pods of other releases are not counted."""
    nodes = subject.facts.nodes
    if not nodes or any(_is_autoscaled(subject, pod) for _, pod in subject.pods()):
        return
    needs = requested(subject.objects)
    for name in ("cpu", "memory"):
        wanted = Decimal(needs[f"requests.{name}"])
        there = sum((quantity(_allocatable(node).get(name, 0)) for node in nodes), Decimal(0))
        if wanted > there:
            needed, capacity = words(wanted, name), words(there, name)
            yield Violation(
                "nodes",
                f"the release requests {name} {needed} in total; all nodes together have {capacity} allocatable",
                "add nodes, or lower replicas and resources.requests",
            )


def _allocatable(node: KubernetesObject) -> Mapping[str, Any]:
    return status_of(node).get("allocatable") or {}


def _none(subject: RenderedObjects) -> Iterator[Violation]:
    if subject.facts.nodes is not None and not subject.facts.nodes:
        yield Violation("cluster", "it has no nodes", "see: kubectl get nodes")


def _zones(subject: RenderedPlan) -> Iterator[Violation]:
    nodes, wanted = subject.facts.nodes, subject.plan.profile.zones
    if not nodes or wanted == 1:
        return
    there = sorted({zone for node in nodes if (zone := labels_of(node).get(ZONE))})
    if len(there) < wanted:
        message = f"the profile spreads over {wanted} zones; the nodes are in {len(there)}: {', '.join(there)}"
        yield Violation("zones", message, f"set zones: {max(len(there), 1)}, or label the nodes with {ZONE}")


def _storage(subject: RenderedObjects) -> Iterator[Violation]:
    classes = subject.facts.storage_classes
    if classes is None or not _has_room(subject):
        return
    names = {one["metadata"]["name"] for one in classes}
    there = subject.facts.claims or frozenset()
    for where, claim, made in _claims(subject):
        wanted = claim["spec"].get("storageClassName")
        if wanted and wanted not in names and not made <= there:
            message = f"storage class {wanted} does not exist"
            yield Violation(where, message, f"set storage_class: {' or '.join(sorted(names)) or 'NAME'}")


def _default_storage(subject: RenderedObjects) -> Iterator[Violation]:
    """Only a warning: existing volumes do not need their class."""
    classes = subject.facts.storage_classes
    if classes is None or not _has_room(subject):
        return
    if any(annotations_of(one).get(DEFAULT_STORAGE_CLASS) == "true" for one in classes):
        return
    names = " or ".join(sorted(one["metadata"]["name"] for one in classes)) or "NAME"
    nameless = sorted({where for where, claim, _ in _claims(subject) if not claim["spec"].get("storageClassName")})
    if nameless:
        message = f"there is no default class, and {', '.join(nameless)} sets none: new volumes stay pending"
        yield Violation("storage classes", message, f"set storage_class: {names}")


def _has_room(subject: RenderedObjects) -> bool:
    """Whether the cluster is set up: without nodes and classes, `_none` alone reports."""
    return bool(subject.facts.nodes or subject.facts.storage_classes)


def _claims(subject: RenderedObjects) -> Iterator[tuple[str, KubernetesObject, set[str]]]:
    """Each claim and claim template, with its object and the names of the resulting claims."""
    for thing in subject.of_kind("StatefulSet"):
        name, count = thing["metadata"]["name"], int(thing["spec"].get("replicas", 1))
        for claim in thing["spec"].get("volumeClaimTemplates") or ():
            made = {f"{claim['metadata']['name']}-{name}-{number}" for number in range(count)}
            yield f"StatefulSet/{name}", claim, made
    for thing in subject.of_kind("PersistentVolumeClaim"):
        name = thing["metadata"]["name"]
        yield f"PersistentVolumeClaim/{name}", thing, {name}


def _metrics(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.facts.metrics is False:
        for scaler in subject.of_kind("HorizontalPodAutoscaler"):
            message = "the cluster does not serve the CPU metrics of pods (metrics.k8s.io); nothing would be scaled"
            yield Violation(
                f"HorizontalPodAutoscaler/{scaler['metadata']['name']}",
                message,
                "install metrics-server, or set autoscale: null",
            )


def _external(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.facts.external_metrics is not False:
        return
    for scaler in subject.of_kind("HorizontalPodAutoscaler"):
        if any(metric["type"] == "External" for metric in scaler["spec"]["metrics"]):
            message = "the cluster does not serve external metrics: it scales up by CPU only, and never down"
            way = "install a metrics adapter for requests_per_second, or set autoscale.requests_per_second: null"
            yield Violation(f"HorizontalPodAutoscaler/{scaler['metadata']['name']}", message, way)


def _priority(subject: RenderedObjects) -> Iterator[Violation]:
    classes = subject.facts.priority_classes
    if classes is None:
        return
    names = {one["metadata"]["name"] for one in classes}
    names |= {thing["metadata"]["name"] for thing in subject.of_kind("PriorityClass")}
    for where, pod in subject.pods():
        wanted = pod.get("priorityClassName")
        if wanted and wanted not in names:
            message = f"priority class {wanted} does not exist: its pods would be rejected"
            yield Violation(
                where, message, "add it under priorities, or use an existing one: kubectl get priorityclasses"
            )


def _secrets(subject: RenderedObjects) -> Iterator[Violation]:
    there, namespace = subject.facts.secrets, subject.namespace
    if there is None:
        return
    made = {thing["metadata"]["name"] for thing in subject.of_kind("Secret")}
    wanted: dict[str, dict[str, set[str]]] = {}
    for where, pod in subject.pods():
        for name, key in _secret_keys(pod):
            if name not in there | made:
                wanted.setdefault(name, {}).setdefault(key, set()).add(where)
    for name, keys in wanted.items():
        readers = sorted(set().union(*keys.values()))
        values = " ".join(f"--from-literal={key}=VALUE" for key in sorted(keys))
        message = f"does not exist in namespace {namespace}; read by {', '.join(readers)}"
        first = f"kubectl create namespace {namespace}; " if subject.facts.namespace == {} else ""
        way = f"create it: {first}kubectl create secret generic {name} -n {namespace} {values}"
        yield Violation(f"Secret/{name}", message, way)


def _secret_keys(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in pod["containers"]:
        for variable in container.get("env") or ():
            if found := (variable.get("valueFrom") or {}).get("secretKeyRef"):
                yield found["name"], found["key"]
    for volume in pod.get("volumes") or ():
        for item in (volume.get("secret") or {}).get("items") or ():
            yield volume["secret"]["secretName"], item["key"]


def _ingress(subject: RenderedObjects) -> Iterator[Violation]:
    classes = subject.facts.ingress_classes
    if classes is None:
        return
    names = {one["metadata"]["name"] for one in classes}
    for ingress in subject.of_kind("Ingress"):
        wanted = ingress["spec"].get("ingressClassName")
        if wanted and wanted not in names:
            message = f"ingress class {wanted} does not exist, so no controller may pick this Ingress up"
            yield Violation(
                f"Ingress/{ingress['metadata']['name']}",
                message,
                "set expose.class_name to an existing one: kubectl get ingressclasses",
            )


def _unrestricted(subject: RenderedPlan) -> Iterator[Violation]:
    wanted, there = subject.plan.profile.pod_security, subject.facts.namespace
    if not wanted or not there:
        return
    ours = annotations_of(there).get(RELEASE) == subject.plan.release
    if not ours and labels_of(there).get(POD_SECURITY) != wanted:
        name = there["metadata"]["name"]
        message = f"it existed before the release, is not changed, and does not enforce pod security level {wanted}"
        yield Violation(f"Namespace/{name}", message, f"kubectl label namespace {name} {POD_SECURITY}={wanted}")


def _others(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.network is None:
        return
    others = [
        pod["metadata"]["name"]
        for pod in subject.facts.pods or ()
        if labels_of(pod).get(INSTANCE) != subject.plan.release
    ]
    if others:
        message = f"the default network policy would isolate pods that are not of this release: {', '.join(others[:5])}"
        yield Violation(f"Namespace/{subject.plan.profile.namespace}", message, "use a separate namespace: -n NAME")


RULES = (
    ClusterRule("unschedulable", "every pod fits on some node", Severity.ERROR, _nodes),
    Rule("zones", "the cluster has as many zones as the profile spreads over", Severity.ERROR, _zones),
    ClusterRule("no-storage-class", "the storage class of every new volume exists", Severity.ERROR, _storage),
    Rule("no-metrics", "the cluster serves the metrics that autoscalers use", Severity.ERROR, _metrics),
    ClusterRule("no-priority-class", "the priority class of every pod exists", Severity.ERROR, _priority),
    ClusterRule("no-secret", "every Secret that a pod reads exists", Severity.ERROR, _secrets),
    ClusterRule(
        "no-default-storage-class", "volumes without a class get a default one", Severity.WARNING, _default_storage
    ),
    ClusterRule("insufficient-capacity", "all nodes together can run the release", Severity.WARNING, _crowded),
    ClusterRule("no-nodes", "the cluster has nodes", Severity.WARNING, _none),
    Rule("no-external-metrics", "the cluster serves the external metrics in use", Severity.WARNING, _external),
    ClusterRule("no-ingress-class", "the class of every Ingress exists", Severity.WARNING, _ingress),
    Rule("namespace-pod-security", "the namespace enforces the profile's level", Severity.WARNING, _unrestricted),
    Rule("foreign-pods", "the default network policy isolates no pod of others", Severity.WARNING, _others),
)
