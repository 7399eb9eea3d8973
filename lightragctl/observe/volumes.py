"""Finds volume claims whose data is at risk or lost, and the workloads that use them. Pure.

A claim that is deleted while a pod uses it stays Terminating until the pod ends. Its data is deleted then; the deletion
cannot be cancelled.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.objects import deletion_time, spec_of, status_of


@dataclass(frozen=True)
class EndangeredClaim:
    """A claim whose data is at risk or lost.

    Attributes:
        claim: the claim.
        reason: why, as text.
    """

    claim: ObjectRef
    reason: str

    def __str__(self) -> str:
        return f"{self.claim}: {self.reason}"


def endangered(
    claims: Iterable[KubernetesObject], volumes: Mapping[str, KubernetesObject | None]
) -> tuple[EndangeredClaim, ...]:
    """The claims whose data is at risk or lost.

    Args:
        claims: of the release.
        volumes: their volumes by name; None: deleted; unreadable ones are missing.
    """
    found = [(ref(claim), _risk(claim, volumes)) for claim in claims]
    return tuple(EndangeredClaim(identity, reason) for identity, reason in found if reason)


def _risk(claim: KubernetesObject, volumes: Mapping[str, KubernetesObject | None]) -> str:
    status = status_of(claim)
    name = spec_of(claim).get("volumeName") or ""
    if since := deletion_time(claim):
        policy = spec_of(volumes.get(name) or {}).get("persistentVolumeReclaimPolicy")
        kept = f"; its volume {name} is retained, but unused" if policy == "Retain" else ""
        return f"terminating since {since}: its data is deleted when the pod that uses it ends{kept}"
    if status.get("phase") == "Lost":
        return f"its volume {name} is lost, with its data"
    if not name or name not in volumes or status.get("phase") != "Bound":
        return ""
    volume = volumes[name]
    if volume is None:
        return f"its volume {name} is gone, with its data"
    if since := deletion_time(volume):
        return f"its volume {name} has been terminating since {since}: its data is deleted with the claim"
    phase = status_of(volume).get("phase")
    return f"its volume {name} is {phase}" if phase in ("Failed", "Released") else ""


def expected_claims(stateful_set: KubernetesObject) -> Iterator[ObjectRef]:
    """The claims that the StatefulSet creates for its pods."""
    metadata = stateful_set["metadata"]
    for claim in _templates(stateful_set):
        for number in range(int(stateful_set["spec"].get("replicas", 1))):
            name = f"{claim['metadata']['name']}-{metadata['name']}-{number}"
            yield ObjectRef("v1", "PersistentVolumeClaim", str(metadata.get("namespace", "")), name)


def _templates(thing: KubernetesObject) -> Sequence[Mapping[str, Any]]:
    return thing["spec"].get("volumeClaimTemplates") or () if thing["kind"] == "StatefulSet" else ()


def uses(thing: KubernetesObject, claim: ObjectRef) -> bool:
    """Whether pods of the workload mount the claim."""
    name = str(thing["metadata"]["name"])
    if any(
        re.fullmatch(rf"{re.escape(one['metadata']['name'])}-{re.escape(name)}-\d+", claim.name)
        for one in _templates(thing)
    ):
        return True
    return claim.name in claim_names(thing["spec"]["template"]["spec"])


def claim_names(pod_spec: Mapping[str, Any]) -> set[str]:
    """The names of the claims that a pod mounts."""
    named = ((one.get("persistentVolumeClaim") or {}).get("claimName") for one in pod_spec.get("volumes") or ())
    return {name for name in named if name}
