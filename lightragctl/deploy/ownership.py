"""Determines the owner of an object: the release, another tool, or none; and the labels that show it. Pure.

The labels are those of ApplySets (KEP 3659): the inventory is the parent, the release's objects are the members. Only
the objects have them, never selectors, pod templates or claims, which are immutable.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

import lightragctl
from lightragctl.core.errors import RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube import labels as keys
from lightragctl.kube.managed_fields import owners
from lightragctl.kube.model import FIELD_MANAGER
from lightragctl.kube.objects import annotations_of, controller_of, labels_of


def applyset_id(parent: ObjectRef) -> str:
    """The ID of the parent's ApplySet."""
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
    """The object with the label of a member; cluster-scoped objects cannot be members of a namespaced parent."""
    metadata = thing["metadata"]
    if not metadata.get("namespace"):
        return dict(thing)
    labels = {**labels_of(thing), keys.APPLYSET_PART_OF: applyset_id(parent)}
    return {**thing, "metadata": {**metadata, "labels": labels}}


def was_applied(live: KubernetesObject) -> bool:
    """Whether we own a field of it: then it is ours even if its labels were removed."""
    return any(owner.manager == FIELD_MANAGER for owner in owners(live))


def is_owned(live: KubernetesObject, release: str) -> bool:
    """Whether an object with one of our names belongs to the release, and not to another owner."""
    labels = labels_of(live)
    if labels.get(keys.MANAGED_BY, keys.MANAGER) != keys.MANAGER:
        return False
    return labels[keys.INSTANCE] == release if keys.INSTANCE in labels else was_applied(live)


def refuse_foreign(strangers: Iterable[KubernetesObject], release: str, parent: ObjectRef, adopt: bool) -> None:
    """Refuse to overwrite existing objects that do not belong to the release.

    Args:
        strangers: live objects with wanted names that neither have the release's labels nor were applied by us.
        release: its name.
        parent: its inventory.
        adopt: allow those without an owner.

    Raises:
        RefusedError: lists each with its owner, or with the manager that created it.
    """
    found = list(strangers)
    taken = [f"{ref(one)} {owner}" for one in found if (owner := _owner_text(one, release, applyset_id(parent)))]
    if taken:
        hint = Hint("use another name: --name NAME; or delete them with their tool: helm uninstall, ", Command("down"))
        raise RefusedError(f"these objects have another owner and are never adopted:\n{_listed(taken)}", hint)
    if found and not adopt:
        lines = [f"{ref(one)} was created by {_creators(one)}" for one in found]
        hint = Hint("adopt them with --adopt, use another name with --name, or delete them")
        raise RefusedError(f"these objects exist and do not belong to release '{release}':\n{_listed(lines)}", hint)


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _owner_text(live: KubernetesObject, release: str, set_id: str) -> str:
    """The other tool or release that owns the object, as text; empty if there is none."""
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


def _creators(live: KubernetesObject) -> str:
    names = sorted({one.manager for one in owners(live) if one.subresource != "status"})
    return ", ".join(names) or "an unknown manager"
