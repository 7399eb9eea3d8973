"""Rules about pods: images, resources, probes, how they end, what they may, where their data lie."""

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
        message = f"image {image} is another one tomorrow: no way back, and nodes that differ"
        yield Violation(where, message, "name a version: image.tag, or image.tag of the component")


def _amounts(subject: RenderedPlan) -> Iterator[Violation]:
    for where, container in subject.containers():
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        for name, asked in (resources.get("requests") or {}).items():
            if name in limits and quantity(asked) > quantity(limits[name]):
                message = f"{container['name']} requests {asked} of {name} and may have {limits[name]}"
                yield Violation(where, message, f"raise limits.{name} to {asked}, or lower requests.{name}")


def _memory(subject: RenderedPlan) -> Iterator[Violation]:
    for where, container in subject.containers():
        if "memory" not in ((container.get("resources") or {}).get("limits") or {}):
            message = f"{container['name']} may take all the memory of its node"
            yield Violation(where, message, "give resources.limits.memory")


def _start(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        needs_s = subject.plan.components[part.component].probes.least_start_s
        if part.start_timeout_s < needs_s:
            message = (
                f"killed {part.start_timeout_s} s after its start, and it may take {needs_s} s: it would never be up"
            )
            yield Violation(_named(part), message, f"say start_timeout_s: {needs_s}, or leave it out")


def _drain(subject: RenderedPlan) -> Iterator[Violation]:
    for part in subject.plan.parts():
        if not isinstance(part.values, WorkloadValues):
            continue
        needs_s = part.values.drain_s + subject.plan.components[part.component].stop_s
        if part.stop_grace_s < needs_s:
            message = (
                f"killed {part.stop_grace_s} s after it was told to stop, and it drains and ends for {needs_s:.0f} s"
            )
            yield Violation(_named(part), message, "leave stop_grace_s out, or lower drain_s")


def _named(part: Part) -> str:
    return f"components.{part.component}" + (f" ({part.role})" if part.role else "")


def _ephemeral(subject: RenderedPlan) -> Iterator[Violation]:
    for thing in subject.of_kind("StatefulSet") if subject.plan.profile.production else ():
        if not thing["spec"].get("volumeClaimTemplates"):
            message = "its data go with its pod"
            yield Violation(
                f"StatefulSet/{thing['metadata']['name']}", message, "give the component storage, such as 10Gi"
            )


def _store(subject: RenderedPlan) -> Iterator[Violation]:
    store = _object_store(subject)
    if store is None:
        return
    key = "components.vector-engine.object_store"
    if store.credentials is None and not store.iam:
        message = "nobody says with what right Milvus reads and writes the bucket"
        yield Violation(key, message, "say credentials: {secret: NAME} (keys access-key and secret-key), or iam: true")
    if "://" in store.endpoint or "/" in store.endpoint:
        message = f"{store.endpoint} is an address of HTTP"
        yield Violation(f"{key}.endpoint", message, "say HOST:PORT, and tls: true or false")


def _object_store(subject: RenderedPlan) -> ObjectStore | None:
    if "vector-engine" not in subject.plan.components:
        return None
    values = subject.plan.values_of("vector-engine", VectorEngineValues)
    return values.object_store if values.is_shared else None


def _broker(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and "kafka" in subject.plan.components:
        message = "one broker: with it go writes that are not in the object store yet"
        way = (
            "take one that is run as a cluster: components.vector-engine.queue.address; components.kafka.enabled: false"
        )
        yield Violation("components.kafka", message, way)


def _pools(subject: RenderedPlan) -> Iterator[Violation]:
    pools = subject.plan.profile.pools
    for part in subject.plan.parts():
        if pools is not None and part.values.pool and part.values.pool not in pools:
            message = f"there is no pool '{part.values.pool}'"
            yield Violation(_named(part), message, f"name one of {', '.join(sorted(pools))}, or add it under pools")


def _restricted(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.pod_security != "restricted":
        return
    for where, pod in subject.pods():
        for problem in _beyond_restricted(pod):
            yield Violation(
                where, f"the namespace will refuse its pods: {problem}", "mend the template, or lower pod_security"
            )


def _beyond_restricted(pod: Mapping[str, Any]) -> Iterator[str]:
    """What the level `restricted` of the Pod Security Standards refuses, as far as our pods could have it."""
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    if any("hostPath" in volume for volume in pod.get("volumes") or ()):
        yield "a volume of the node"
    for container in [*pod["containers"], *(pod.get("initContainers") or ())]:
        own = container.get("securityContext") or {}
        both = {**(pod.get("securityContext") or {}), **own}
        asked = {
            "may run as root": bool(both.get("runAsNonRoot")) and both.get("runAsUser") != 0,
            "has no seccomp profile": (both.get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost"),
            "may gain rights": not own.get("privileged") and own.get("allowPrivilegeEscalation") is False,
            "keeps capabilities": "ALL" in ((own.get("capabilities") or {}).get("drop") or ()),
        }
        yield from (f"{container['name']} {problem}" for problem, holds in asked.items() if not holds)


RULES = (
    Rule("image-not-fixed", "in production every image has a version", Severity.ERROR, _image),
    Rule("requests-over-limits", "nothing is requested that is not allowed", Severity.ERROR, _amounts),
    Rule("no-memory-limit", "every container's memory is bounded", Severity.ERROR, _memory),
    Rule("start-too-short", "a pod has the time to start that it may need", Severity.ERROR, _start),
    Rule("stop-too-short", "a pod has the time to stop that it needs", Severity.ERROR, _drain),
    Rule("ephemeral-storage", "in production data outlive their pod", Severity.ERROR, _ephemeral),
    Rule("object-store-access", "Milvus may use its object store", Severity.ERROR, _store),
    Rule("single-broker", "in production the message queue outlives a broker", Severity.ERROR, _broker),
    Rule("unknown-pool", "a component's pool is one of the profile's", Severity.ERROR, _pools),
    Rule("not-restricted", "pods keep to the level that the namespace enforces", Severity.ERROR, _restricted),
)
