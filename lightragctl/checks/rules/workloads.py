"""Rules about pods: images, resources, probes, termination, pod security, storage."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.components.vector_engine import ObjectStore, VectorEngineValues
from lightragctl.core.component import Part, WorkloadValues
from lightragctl.core.findings import Severity, Violation
from lightragctl.core.quantity import quantity


def _image(subject: RenderedPlan) -> Iterator[Violation]:
    for where, container in subject.containers() if subject.plan.profile.production else ():
        image = str(container["image"])
        name, _, tag = image.rpartition("/")[2].partition(":")
        if "@" in image or (name and tag not in ("", "latest")):
            continue
        message = f"image {image} has a mutable tag: rollbacks are impossible and nodes may run different versions"
        yield Violation(where, message, "set a version: image.tag, or image.tag of the component")


def _amounts(subject: RenderedPlan) -> Iterator[Violation]:
    for where, container in subject.containers():
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        for name, request in (resources.get("requests") or {}).items():
            if name in limits and quantity(request) > quantity(limits[name]):
                message = f"{container['name']} requests {name} {request}, above its limit of {limits[name]}"
                yield Violation(where, message, f"raise limits.{name} to {request}, or lower requests.{name}")


def _memory(subject: RenderedPlan) -> Iterator[Violation]:
    for where, container in subject.containers():
        if "memory" not in ((container.get("resources") or {}).get("limits") or {}):
            message = f"{container['name']} has no memory limit and can use all the memory of its node"
            yield Violation(where, message, "set resources.limits.memory")


def _start(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        needs_s = subject.plan.components[part.component].probes.least_start_s
        if part.start_timeout_s < needs_s:
            message = f"killed {part.start_timeout_s} s after its start; starting can take {needs_s} s"
            yield Violation(_named(part), message, f"set start_timeout_s: {needs_s}, or omit it")


def _drain(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if not isinstance(part.values, WorkloadValues):
            continue
        needs_s = part.values.drain_s + subject.plan.components[part.component].stop_s
        if part.stop_grace_s < needs_s:
            message = f"killed {part.stop_grace_s} s after SIGTERM; draining and stopping can take {needs_s:.0f} s"
            yield Violation(_named(part), message, "omit stop_grace_s, or lower drain_s")


def _named(part: Part) -> str:
    return f"components.{part.component}" + (f" ({part.role})" if part.role else "")


def _ephemeral(subject: RenderedPlan) -> Iterator[Violation]:
    for thing in subject.of_kind("StatefulSet") if subject.plan.profile.production else ():
        if not thing["spec"].get("volumeClaimTemplates"):
            message = "its data is lost with its pod"
            yield Violation(
                f"StatefulSet/{thing['metadata']['name']}", message, "set storage of the component, such as 10Gi"
            )


def _store(subject: RenderedPlan) -> Iterator[Violation]:
    store = _object_store(subject)
    if store is None:
        return
    key = "components.vector-engine.object_store"
    if store.credentials is None and not store.iam:
        message = "no credentials for the bucket"
        yield Violation(key, message, "set credentials: {secret: NAME} (keys access-key and secret-key), or iam: true")
    if "://" in store.endpoint or "/" in store.endpoint:
        message = f"{store.endpoint} is a URL, not HOST:PORT"
        yield Violation(f"{key}.endpoint", message, "set HOST:PORT, and tls: true or false")


def _object_store(subject: RenderedPlan) -> ObjectStore | None:
    if "vector-engine" not in subject.plan.components:
        return None
    values = subject.plan.values_of("vector-engine", VectorEngineValues)
    return values.object_store if values.is_shared else None


def _broker(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and "kafka" in subject.plan.components:
        message = "a single broker: losing it loses writes that are not in the object store yet"
        way = "use a Kafka cluster: components.vector-engine.queue.address; components.kafka.enabled: false"
        yield Violation("components.kafka", message, way)


def _pools(subject: RenderedPlan) -> Iterator[Violation]:
    pools = subject.plan.profile.pools
    for part in subject.plan.parts():
        if pools is not None and part.values.pool and part.values.pool not in pools:
            message = f"pool '{part.values.pool}' does not exist"
            yield Violation(_named(part), message, f"use one of {', '.join(sorted(pools))}, or add it under pools")


def _restricted(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.pod_security != "restricted":
        return
    for where, pod in subject.pods():
        for problem in _beyond_restricted(pod):
            yield Violation(
                where, f"the namespace would reject its pods: {problem}", "fix the template, or lower pod_security"
            )


def _beyond_restricted(pod: Mapping[str, Any]) -> Iterator[str]:
    """Violations of the Pod Security Standard `restricted`, of the kinds that our templates could contain."""
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    if any("hostPath" in volume for volume in pod.get("volumes") or ()):
        yield "a hostPath volume"
    for container in [*pod["containers"], *(pod.get("initContainers") or ())]:
        own = container.get("securityContext") or {}
        both = {**(pod.get("securityContext") or {}), **own}
        required = {
            "may run as root": bool(both.get("runAsNonRoot")) and both.get("runAsUser") != 0,
            "has no seccomp profile": (both.get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost"),
            "may escalate privileges": not own.get("privileged") and own.get("allowPrivilegeEscalation") is False,
            "keeps capabilities": "ALL" in ((own.get("capabilities") or {}).get("drop") or ()),
        }
        yield from (f"{container['name']} {problem}" for problem, holds in required.items() if not holds)


RULES = (
    Rule("mutable-image-tag", "every image has a version tag in production", Severity.ERROR, _image),
    Rule("requests-over-limits", "requests are at most the limits", Severity.ERROR, _amounts),
    Rule("no-memory-limit", "every container has a memory limit", Severity.ERROR, _memory),
    Rule("start-timeout-too-short", "the start timeout covers a slow start", Severity.ERROR, _start),
    Rule("grace-period-too-short", "the grace period covers draining and stopping", Severity.ERROR, _drain),
    Rule("no-persistent-storage", "stateful components have volumes in production", Severity.ERROR, _ephemeral),
    Rule("object-store-access", "Milvus has access to its object store", Severity.ERROR, _store),
    Rule("single-broker", "the message queue has several brokers in production", Severity.ERROR, _broker),
    Rule("unknown-pool", "the pool of every component exists", Severity.ERROR, _pools),
    Rule(
        "pod-security-violation", "pods comply with the level that the namespace enforces", Severity.ERROR, _restricted
    ),
)
