"""Plans how to change an immutable field: recreate the object, or refuse. Pure."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.quantity import quantity


@dataclass(frozen=True)
class Replacement:
    """The replacement of a StatefulSet: it is orphan-deleted, without its pods, and recreated; the new one adopts them.

    Attributes:
        uid: of the object to delete.
        note: the plan, as text.
        claims: volume claims to expand first, with their new sizes.
    """

    uid: str
    note: str
    claims: tuple[tuple[ObjectRef, str], ...] = ()


_DOWN_UP = (Command("down"), ", then ", Command("up"))
_HINTS = {
    "Deployment": Hint("bring up a second release under another name: --name NAME; or ", *_DOWN_UP),
    "Service": Hint(*_DOWN_UP, ": its address changes, the data stays"),
    "PriorityClass": Hint(
        "it is cluster-scoped: if no other pods use it, kubectl delete priorityclass NAME, then ", Command("up")
    ),
}
_ELSE = Hint("revert the change; or ", *_DOWN_UP, ": the data stays")
_OF_A_CLAIM = {"storageClassName": "storage class", "accessModes": "access modes", "volumeMode": "volume mode"}
_NEW_VOLUME = Hint(
    "revert the change; or create a new volume: rename the server under components.model-server.servers, the old "
    "volume stays until ",
    Command("up", "--prune-data"),
    "; or ",
    Command("down", "--purge"),
    ", which deletes all data, then ",
    Command("up"),
)


def plan_replacement(
    wanted: KubernetesObject,
    live: KubernetesObject,
    claims: Sequence[KubernetesObject],
    classes: Mapping[str, bool],
    reason: str,
) -> Replacement:
    """The plan that changes an immutable field without touching data.

    Args:
        wanted: the desired object.
        live: the live object.
        claims: volume claims of its pods.
        classes: by storage class, whether it allows volume expansion.
        reason: why the server rejected the change.

    Raises:
        RefusedError: the kind or the field cannot be changed in this way; the hint has an alternative.
    """
    if wanted["kind"] == "PersistentVolumeClaim":
        _refuse_claim(wanted, live, classes, reason)
    if wanted["kind"] != "StatefulSet":
        raise RefusedError(reason, _HINTS.get(str(wanted["kind"]), _ELSE))
    if _selector(wanted) != _selector(live):
        message = f"{ref(wanted)}: its selector is immutable: a new one would orphan its pods"
        raise RefusedError(message, _ELSE)
    expandable = _expanding(wanted, live, claims, classes)
    grown = (
        f"; first {', '.join(f'{identity.name} is expanded to {size}' for identity, size in expandable)}"
        if expandable
        else ""
    )
    kept = "" if _classes(wanted) == _classes(live) else "; existing claims keep their storage class"
    note = f"orphan-deleted and recreated, its pods keep running{grown}; no volume claim is deleted{kept}"
    return Replacement(str(live["metadata"]["uid"]), note, expandable)


def with_live_volumes(wanted: KubernetesObject, live: KubernetesObject | None) -> dict[str, Any]:
    """The object of an earlier revision with the present volume sizes: volumes cannot shrink."""
    if live is None:
        return dict(wanted)
    made, now = copy.deepcopy(dict(wanted)), _sizes(live)
    for claim in _claims(made):
        size = now.get(_name(claim), _size(claim))
        if quantity(size) > quantity(_size(claim)):
            claim["spec"]["resources"]["requests"]["storage"] = size
    return made


def _claims(thing: KubernetesObject) -> Sequence[Any]:
    """The claim itself, or the claim templates of the object."""
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
    """Refuse the change of a claim: it would have to be deleted, with its data."""
    size, before = _size(wanted), _size(live)
    if quantity(size) < quantity(before):
        message = f"{ref(wanted)}: a volume cannot shrink: it has {before}, {size} is requested"
        raise RefusedError(message, f"request at least {before}")
    changes = [
        f"{what} ({_words(live, key)} to {_words(wanted, key)})"
        for key, what in _OF_A_CLAIM.items()
        if key in wanted["spec"] and _words(wanted, key) != _words(live, key)
    ]
    if not changes and quantity(size) > quantity(before):
        _refuse_fixed(live, classes, size)
    message = f"{ref(wanted)} exists and its {', '.join(changes)} is immutable; no volume claim is deleted"
    raise RefusedError(message if changes else reason, _NEW_VOLUME)


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
            message = f"{ref(wanted)}: a volume cannot shrink: '{template}' has {before}, {size} is requested"
            raise RefusedError(message, f"request at least {before}")
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
        message = f"{ref(claim)} cannot be expanded to {size}: storage class '{name}' does not allow volume expansion"
        hint = "set allowVolumeExpansion on the class if its driver supports it; else load the data into a new release"
        raise RefusedError(message, hint)
