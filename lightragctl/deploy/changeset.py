"""What applying objects would do, as data: live objects compared with what the server would make of ours. Pure."""

import difflib
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Action, Difference, ForeignField
from lightragctl.deploy.replacement import Replacement

_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
"""Metadata that the server writes: it differs without anything having changed."""
HIDDEN = "***HIDDEN***"


@dataclass(frozen=True)
class Change:
    """What happens to one object: as it is, and as it will be; None where it is not there.

    Attributes:
        conflicts: fields that others hold and that it would change.
        is_forced: whether the server takes it only with force.
        replacement: how it is made anew where it cannot be changed.
    """

    identity: ObjectRef
    action: Action
    before: KubernetesObject | None
    after: KubernetesObject | None
    note: str = ""
    conflicts: tuple[ForeignField, ...] = ()
    is_forced: bool = False
    replacement: Replacement | None = None


@dataclass(frozen=True)
class ChangeSet:
    """What happens to each object of a release, in the order in which it happens."""

    changes: tuple[Change, ...]

    @property
    def differing(self) -> tuple[Change, ...]:
        """Changes that do something."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def conflicts(self) -> tuple[ForeignField, ...]:
        """Fields that others hold and that would be changed."""
        return tuple(one for change in self.changes for one in change.conflicts)

    @property
    def counts(self) -> str:
        """How many changes of each kind, in words."""
        found = Counter(change.action for change in self.differing)
        return ", ".join(f"{count} {action}" for action, count in sorted(found.items())) or "nothing"


def change(live: KubernetesObject | None, predicted: KubernetesObject, note: str = "") -> Change:
    """The change from the live object to the one that the server predicts of a dry run."""
    identity = ref(predicted)
    if live is None:
        return Change(identity, Action.CREATED, None, predicted, note)
    same = stripped(live) == stripped(predicted)
    return Change(identity, Action.UNCHANGED if same else Action.CONFIGURED, live, predicted, note)


def deletion(live: KubernetesObject) -> Change:
    """The change that removes the object."""
    return Change(ref(live), Action.DELETED, live, None)


def stripped(thing: KubernetesObject) -> dict[str, Any]:
    """The object without status and what only the server writes."""
    metadata = {key: value for key, value in thing.get("metadata", {}).items() if key not in _SERVER_FIELDS}
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": metadata}


def difference(one: Change, key: bytes) -> Difference:
    """The change for a person: a unified diff of YAML, secret values masked.

    Args:
        one: the change.
        key: keys the hash that stands for a secret value, so that a change shows and the value does not; one per run.
    """
    text = "" if one.action is Action.UNCHANGED else _unified(one, key)
    return Difference(str(one.identity), one.action, text, one.note)


def _unified(one: Change, key: bytes) -> str:
    before, after = (_lines(side, key) for side in (one.before, one.after))
    names = ("live", "wanted")
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm="", n=3))


def _lines(thing: KubernetesObject | None, key: bytes) -> Sequence[str]:
    if thing is None:
        return []
    return yaml.safe_dump(masked(stripped(thing), key), allow_unicode=True, sort_keys=True, width=1000).splitlines()


def masked(thing: KubernetesObject, key: bytes) -> dict[str, Any]:
    """The object with each value of a Secret replaced by a short keyed hash of it."""
    if thing.get("kind") != "Secret":
        return dict(thing)
    hidden = {part: _hide(thing[part], key) for part in ("data", "stringData") if isinstance(thing.get(part), Mapping)}
    return {**thing, **hidden}


def _hide(values: Mapping[str, Any], key: bytes) -> dict[str, str]:
    digests = {
        name: hmac.new(key, str(value).encode(), hashlib.sha256).hexdigest()[:8] for name, value in values.items()
    }
    return {name: f"{HIDDEN} {digest}" for name, digest in digests.items()}
