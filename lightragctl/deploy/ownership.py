"""Whose an object is: ours, nobody's, or another tool's; and the labels that say so to other tools. Pure.

The labels are those of ApplySets (KEP 3659): the inventory is the parent, the release's objects are the members. They
stand on the objects alone, never in selectors, pod templates or claims, which cannot change.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import lightragctl
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube import labels as keys
from lightragctl.kube.managed_fields import owners
from lightragctl.kube.model import FIELD_MANAGER
from lightragctl.kube.objects import annotations_of, controller_of, labels_of


def applyset_id(parent: ObjectRef) -> str:
    """The name of the set that the parent stands for."""
    group = parent.api_version.rpartition("/")[0]
    text = f"{parent.name}.{parent.namespace}.{parent.kind}.{group}"
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"applyset-{digest}-v1"


def parent_labels(parent: ObjectRef) -> dict[str, str]:
    """Labels of the parent."""
    return {keys.APPLYSET_ID: applyset_id(parent)}


def parent_annotations(members: Iterable[ObjectRef]) -> dict[str, str]:
    """Annotations of the parent."""
    kinds = {one.kind + (f".{one.api_version.rpartition('/')[0]}" if "/" in one.api_version else "") for one in members}
    return {
        keys.APPLYSET_TOOLING: f"lightragctl/v{lightragctl.__version__}",
        keys.APPLYSET_KINDS: ",".join(sorted(kinds)),
    }


def as_member(thing: KubernetesObject, parent: ObjectRef) -> dict[str, Any]:
    """The object with the label of a member; one without a namespace cannot be in a set whose parent has one."""
    metadata = thing["metadata"]
    if not metadata.get("namespace"):
        return dict(thing)
    labels = {**labels_of(thing), keys.APPLYSET_PART_OF: applyset_id(parent)}
    return {**thing, "metadata": {**metadata, "labels": labels}}


def was_applied(live: KubernetesObject) -> bool:
    """Whether we hold a field of it: so it is ours even when somebody has taken its labels away."""
    return any(owner.manager == FIELD_MANAGER for owner in owners(live))


def is_owned(live: KubernetesObject, release: str) -> bool:
    """Whether an object of a name that we would give is the release's: another may have that name by now."""
    labels = labels_of(live)
    if labels.get(keys.MANAGED_BY, keys.MANAGER) != keys.MANAGER:
        return False
    return labels[keys.INSTANCE] == release if keys.INSTANCE in labels else was_applied(live)


def refuse_foreign(strangers: Iterable[KubernetesObject], release: str, parent: ObjectRef, adopt: bool) -> None:
    """Refuse to write over objects that are there and not the release's.

    Args:
        strangers: live objects of wanted names that are neither labelled as the release's nor were applied by us.
        release: its name.
        parent: its inventory.
        adopt: take those that nobody's tool looks after.

    Raises:
        RefusedError: names each with whose it is, or who made it.
    """
    found = list(strangers)
    taken = [f"{ref(one)} {whose}" for one in found if (whose := _whose(one, release, applyset_id(parent)))]
    if taken:
        hint = "take another name: --name NAME; or let its owner remove it first (helm uninstall, lightragctl down)"
        raise RefusedError(f"these belong to others, and are never taken over:\n{_listed(taken)}", hint)
    if found and not adopt:
        lines = [f"{ref(one)} was made by {_makers(one)}" for one in found]
        hint = "take them over with --adopt, take another name with --name, or delete them"
        raise RefusedError(f"these are there and do not belong to release '{release}':\n{_listed(lines)}", hint)


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _whose(live: KubernetesObject, release: str, set_id: str) -> str:
    """The other tool or release that looks after the object, in words; empty when there is none."""
    labels, noted = labels_of(live), annotations_of(live)
    instance, manager = labels.get(keys.INSTANCE, ""), labels.get(keys.MANAGED_BY, "")
    if keys.HELM_RELEASE in noted or manager == "Helm":
        return f"belongs to helm release '{noted.get(keys.HELM_RELEASE, instance)}'"
    if manager == keys.MANAGER and instance != release:
        return f"belongs to release '{instance}'"
    if labels.get(keys.APPLYSET_PART_OF, set_id) != set_id:
        return f"belongs to another ApplySet, {labels[keys.APPLYSET_PART_OF]}"
    by = controller_of(live)
    return f"belongs to {by['kind']}/{by['name']}" if by else ""


def _makers(live: KubernetesObject) -> str:
    names = sorted({one.manager for one in owners(live) if one.subresource != "status"})
    return ", ".join(names) or "somebody unknown"
