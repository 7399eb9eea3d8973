"""Changes as data: live objects compared with the server's dry-run result. Pure."""

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
"""Metadata that the server sets; ignored when comparing."""
HIDDEN = "***HIDDEN***"


@dataclass(frozen=True)
class Change:
    """The change of one object: before and after; None if it does not exist.

    Attributes:
        conflicts: fields of other managers that would change.
        is_forced: whether applying it needs `force`.
        replacement: how to recreate it if it has an immutable field that changes.
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
    """The changes of a release's objects, in the order of execution."""

    changes: tuple[Change, ...]

    @property
    def differing(self) -> tuple[Change, ...]:
        """The changes that are not `UNCHANGED`."""
        return tuple(change for change in self.changes if change.action is not Action.UNCHANGED)

    @property
    def conflicts(self) -> tuple[ForeignField, ...]:
        """Fields of other managers that would change."""
        return tuple(one for change in self.changes for one in change.conflicts)

    @property
    def counts(self) -> str:
        """The number of changes by action, as text."""
        found = Counter(change.action for change in self.differing)
        return ", ".join(f"{count} {action}" for action, count in sorted(found.items())) or "nothing"


def change(live: KubernetesObject | None, predicted: KubernetesObject, note: str = "") -> Change:
    """The change from the live object to the result of a dry run."""
    identity = ref(predicted)
    if live is None:
        return Change(identity, Action.CREATED, None, predicted, note)
    same = stripped(live) == stripped(predicted)
    return Change(identity, Action.UNCHANGED if same else Action.CONFIGURED, live, predicted, note)


def deletion(live: KubernetesObject) -> Change:
    """The change that deletes the object."""
    return Change(ref(live), Action.DELETED, live, None)


def stripped(thing: KubernetesObject) -> dict[str, Any]:
    """The object without its status and the metadata that the server sets."""
    metadata = {key: value for key, value in thing.get("metadata", {}).items() if key not in _SERVER_FIELDS}
    return {**{key: value for key, value in thing.items() if key != "status"}, "metadata": metadata}


def difference(one: Change, key: bytes) -> Difference:
    """The change as a unified diff of YAML, secret values masked.

    Args:
        one: the change.
        key: of the hash that replaces a secret value, so that a change is visible and the value is not; one per run.
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
    shown = yaml.dump(masked(stripped(thing), key), Dumper=_Blocks, allow_unicode=True, sort_keys=True, width=1000)
    return shown.splitlines()


class _Blocks(yaml.SafeDumper):
    """Writes multi-line strings as block scalars, so that a diff shows the changed line."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    if "\n" not in text.strip("\n"):
        return yaml.SafeDumper.represent_str(dumper, text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", "\n".join(map(_visible, text.split("\n"))), style="|")


def _visible(line: str) -> str:
    """The line with tabs, carriage returns and trailing spaces as symbols, which block scalars cannot contain."""
    shown = line.replace("\t", "␉").replace("\r", "␍")
    return shown.rstrip(" ") + "␠" * (len(shown) - len(shown.rstrip(" ")))


_Blocks.add_representer(str, _block)


def masked(thing: KubernetesObject, key: bytes) -> dict[str, Any]:
    """The object with each value of a Secret replaced by a short keyed hash."""
    if thing.get("kind") != "Secret":
        return dict(thing)
    hidden = {part: _hide(thing[part], key) for part in ("data", "stringData") if isinstance(thing.get(part), Mapping)}
    return {**thing, **hidden}


def _hide(values: Mapping[str, Any], key: bytes) -> dict[str, str]:
    digests = {
        name: hmac.new(key, str(value).encode(), hashlib.sha256).hexdigest()[:8] for name, value in values.items()
    }
    return {name: f"{HIDDEN} {digest}" for name, digest in digests.items()}
