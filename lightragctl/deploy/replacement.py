"""What to do about a field that cannot change while its object lives: a plan for each kind, or a refusal. Pure."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.units import quantity


@dataclass(frozen=True)
class Replacement:
    """How a StatefulSet is replaced: it is deleted without its pods, and made again around them.

    Attributes:
        uid: of the one that is deleted.
        note: the plan, for a person.
        claims: volume claims to grow first, with their new sizes.
    """

    uid: str
    note: str
    claims: tuple[tuple[ObjectRef, str], ...] = ()


_WAYS_OUT = {
    "Deployment": "bring it up beside this one under another name: --name NAME; or lightragctl down, then up",
    "Service": "lightragctl down, then up: its address changes, the data stay",
}
_ELSE = "take the change back; or lightragctl down, then up: the data stay"


def plan_replacement(
    wanted: KubernetesObject,
    live: KubernetesObject,
    claims: Sequence[KubernetesObject],
    classes: Mapping[str, bool],
    reason: str,
) -> Replacement:
    """The plan that brings an immutable change about without touching data.

    Args:
        wanted: the object as it shall be.
        live: as it is.
        claims: volume claims of its pods.
        classes: by storage class, whether its volumes can grow.
        reason: why the server refused the change.

    Raises:
        RefusedError: there is no such plan for the kind or the field; says what else to do.
    """
    if wanted["kind"] != "StatefulSet":
        raise RefusedError(f"{reason}", _WAYS_OUT.get(str(wanted["kind"]), _ELSE))
    if _selector(wanted) != _selector(live):
        message = f"{ref(wanted)}: its selector cannot change, or its pods would belong to nobody"
        raise RefusedError(message, _ELSE)
    growing = _growing(wanted, live, claims, classes)
    grown = f"; first {', '.join(f'{identity.name} grows to {size}' for identity, size in growing)}" if growing else ""
    kept = "" if _classes(wanted) == _classes(live) else "; claims that are there keep their storage class"
    note = f"deleted without its pods and made again around them{grown}; no volume claim is deleted{kept}"
    return Replacement(str(live["metadata"]["uid"]), note, growing)


def keeping_volumes(wanted: KubernetesObject, live: KubernetesObject | None) -> dict[str, Any]:
    """The object of an earlier revision, its volumes as big as they are now: those that have grown cannot shrink."""
    if wanted["kind"] != "StatefulSet" or live is None:
        return dict(wanted)
    now = _sizes(live)
    made = copy.deepcopy(dict(wanted))
    for template in made["spec"].get("volumeClaimTemplates") or ():
        requests = template["spec"]["resources"]["requests"]
        size = now.get(template["metadata"]["name"], requests["storage"])
        if quantity(size) > quantity(str(requests["storage"])):
            requests["storage"] = size
    return made


def _selector(thing: KubernetesObject) -> Any:
    return thing["spec"].get("selector")


def _sizes(thing: KubernetesObject) -> dict[str, str]:
    templates = thing["spec"].get("volumeClaimTemplates") or ()
    return {one["metadata"]["name"]: str(one["spec"]["resources"]["requests"]["storage"]) for one in templates}


def _classes(thing: KubernetesObject) -> list[Any]:
    return [one["spec"].get("storageClassName") for one in thing["spec"].get("volumeClaimTemplates") or ()]


def _growing(
    wanted: KubernetesObject,
    live: KubernetesObject,
    claims: Sequence[KubernetesObject],
    classes: Mapping[str, bool],
) -> tuple[tuple[ObjectRef, str], ...]:
    sizes, name = _sizes(wanted), wanted["metadata"]["name"]
    found = []
    for template, before in _sizes(live).items():
        size = sizes.get(template, before)
        if quantity(size) < quantity(before):
            message = f"{ref(wanted)}: a volume cannot shrink: '{template}' has {before}, {size} is wanted"
            raise RefusedError(message, f"ask for at least {before}")
        for claim in claims:
            if not claim["metadata"]["name"].startswith(f"{template}-{name}-"):
                continue
            if quantity(size) <= quantity(str(claim["spec"]["resources"]["requests"]["storage"])):
                continue
            _refuse_fixed(claim, classes, size)
            found.append((ref(claim), size))
    return tuple(found)


def _refuse_fixed(claim: KubernetesObject, classes: Mapping[str, bool], size: str) -> None:
    name = str(claim["spec"].get("storageClassName") or "")
    if not classes.get(name, False):
        message = f"{ref(claim)} cannot grow to {size}: its storage class '{name}' does not let volumes grow"
        hint = "set allowVolumeExpansion on the class if its driver can do it; else load the data into a new release"
        raise RefusedError(message, hint)
