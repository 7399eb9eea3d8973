"""What to do about a field that cannot change while its object lives: a plan for each kind, or a refusal. Pure."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.quantity import quantity


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
    "PriorityClass": "it is the whole cluster's: if nobody else names it, kubectl delete priorityclass NAME, then up",
}
_ELSE = "take the change back; or lightragctl down, then up: the data stay"
_OF_A_CLAIM = {"storageClassName": "storage class", "accessModes": "access modes", "volumeMode": "volume mode"}
_NEW_VOLUME = (
    "take the change back; or make a new volume: give the server another name under components.model-server.servers, "
    "the old volume stays until up --prune-data; or lightragctl down --purge, which deletes all data, then up"
)


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
    if wanted["kind"] == "PersistentVolumeClaim":
        _refuse_claim(wanted, live, classes, reason)
    if wanted["kind"] != "StatefulSet":
        raise RefusedError(f"{reason}", _WAYS_OUT.get(str(wanted["kind"]), _ELSE))
    if _selector(wanted) != _selector(live):
        message = f"{ref(wanted)}: its selector cannot change, or its pods would belong to nobody"
        raise RefusedError(message, _ELSE)
    expandable = _expanding(wanted, live, claims, classes)
    grown = (
        f"; first {', '.join(f'{identity.name} grows to {size}' for identity, size in expandable)}"
        if expandable
        else ""
    )
    kept = "" if _classes(wanted) == _classes(live) else "; claims that are there keep their storage class"
    note = f"deleted without its pods and made again around them{grown}; no volume claim is deleted{kept}"
    return Replacement(str(live["metadata"]["uid"]), note, expandable)


def with_live_volumes(wanted: KubernetesObject, live: KubernetesObject | None) -> dict[str, Any]:
    """The object of an earlier revision, its volumes as big as they are now: those that have grown cannot shrink."""
    if live is None:
        return dict(wanted)
    made, now = copy.deepcopy(dict(wanted)), _sizes(live)
    for claim in _claims(made):
        size = now.get(_name(claim), _size(claim))
        if quantity(size) > quantity(_size(claim)):
            claim["spec"]["resources"]["requests"]["storage"] = size
    return made


def _claims(thing: KubernetesObject) -> Sequence[Any]:
    """The claims that the object is, or has templates of."""
    if thing["kind"] == "PersistentVolumeClaim":
        return [thing]
    return thing["spec"].get("volumeClaimTemplates") or () if thing["kind"] == "StatefulSet" else ()


def _name(claim: KubernetesObject) -> str:
    return str(claim["metadata"]["name"])


def _size(claim: KubernetesObject) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def _refuse_claim(
    wanted: KubernetesObject, live: KubernetesObject, classes: Mapping[str, bool], reason: str
) -> NoReturn:
    """Say why the claim cannot become so: it would have to be deleted for that, and its data with it."""
    size, before = _size(wanted), _size(live)
    if quantity(size) < quantity(before):
        message = f"{ref(wanted)}: a volume cannot shrink: it has {before}, {size} is wanted"
        raise RefusedError(message, f"ask for at least {before}")
    changes = [
        f"{what} ({_words(live, key)} to {_words(wanted, key)})"
        for key, what in _OF_A_CLAIM.items()
        if key in wanted["spec"] and _words(wanted, key) != _words(live, key)
    ]
    if not changes and quantity(size) > quantity(before):
        _refuse_fixed(live, classes, size)
    told = f"{ref(wanted)} is there, and its {', '.join(changes)} cannot change; no volume claim is deleted"
    raise RefusedError(told if changes else reason, _NEW_VOLUME)


def _words(claim: KubernetesObject, key: str) -> str:
    value = claim["spec"].get(key)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _selector(thing: KubernetesObject) -> Any:
    return thing["spec"].get("selector")


def _sizes(thing: KubernetesObject) -> dict[str, str]:
    return {_name(claim): _size(claim) for claim in _claims(thing)}


def _classes(thing: KubernetesObject) -> list[Any]:
    return [one["spec"].get("storageClassName") for one in thing["spec"].get("volumeClaimTemplates") or ()]


def _expanding(
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
            if not _name(claim).startswith(f"{template}-{name}-"):
                continue
            if quantity(size) <= quantity(_size(claim)):
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
