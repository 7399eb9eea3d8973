"""The catalog of a destination: lists backups, finds the parent of the next one, prunes. Does I/O."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from lightragctl.backup import lock, retention
from lightragctl.backup.chain import Chain, open_chain
from lightragctl.backup.encryption import rewrap
from lightragctl.backup.lock import Subject
from lightragctl.backup.manifest import (
    MANIFEST_NAME,
    MOST_MANIFEST_BYTES,
    STARTED_NAME,
    InvalidBackupError,
    Manifest,
    is_backup_id,
    parse,
)
from lightragctl.backup.source import Destination
from lightragctl.backup.storage import MissingObjectError, Storage, at
from lightragctl.core.backup import Retention
from lightragctl.core.errors import LightragctlError, RefusedError, UsageError
from lightragctl.core.hint import Hint
from lightragctl.core.result import Event, Notify

_UNCLAIMED = timedelta(days=1)
"""An incomplete backup that does not say whose it is belongs to no running command after this."""
_MOST_STARTED_BYTES = 64 * 1024
_NAMED = 5


State = Literal["complete", "running", "incomplete", "damaged", "newer"]


@dataclass(frozen=True)
class Listed:
    """A folder of a destination.

    Attributes:
        id: its name.
        state: `complete`; `running`; `incomplete`, interrupted; `damaged`, its manifest cannot be read; `newer`, only a
            newer version can read it.
        started_at: UTC.
        subject: whose it is; None when it does not say.
        manifest: of a complete one.
        problem: why its manifest cannot be read.
    """

    id: str
    state: State
    started_at: datetime
    subject: Subject | None
    manifest: Manifest | None = None
    problem: str = ""


@dataclass(frozen=True)
class Pruning:
    """What can be deleted of the backups of one workspace.

    Attributes:
        choice: of the complete ones.
        incomplete: ids of interrupted ones.
        sizes: bytes of each that can be deleted.
    """

    choice: retention.Choice
    incomplete: tuple[str, ...]
    sizes: dict[str, int]

    @property
    def deleted(self) -> tuple[str, ...]:
        """All that can be deleted."""
        return (*self.choice.delete, *self.incomplete)


def listed(storage: Storage, now: datetime) -> list[Listed]:
    """Every backup, newest first."""
    running = lock.running(storage, now)
    ids = [name for name in storage.folders() if is_backup_id(name)]
    return [_one(storage, id, running) for id in sorted(ids, reverse=True)]


def chosen(storage: Storage, id: str, subject: Subject, now: datetime) -> str:
    """The id of a backup that the user names.

    `latest` is the newest complete one of `subject`; of all, where there are only backups of another one.

    Raises:
        UsageError: it is no id, there is no complete backup, or `latest` could be of several other workspaces.
    """
    if id == "latest":
        return _latest(storage, subject, now)
    if not is_backup_id(id):
        raise UsageError(f"'{id[:80]}' is not the id of a backup", Hint("list them: ", at("backup list", storage.url)))
    return id


def _latest(storage: Storage, subject: Subject, now: datetime) -> str:
    complete = [one for one in listed(storage, now) if one.state == "complete"]
    subjects = {one.subject for one in complete if one.subject}
    if not complete:
        raise UsageError(
            f"there is no complete backup in {storage.url}", Hint("make one: ", at("backup create", storage.url))
        )
    if subject not in subjects and len(subjects) > 1:
        names = sorted(f"'{one.workspace}' of release '{one.release}'" for one in subjects)
        raise UsageError(
            f"{storage.url} has no backup of workspace '{subject.workspace}' of release '{subject.release}', but of "
            f"several others: {', '.join(names[:_NAMED])}",
            Hint(
                "choose one by its id: ",
                at("backup list", storage.url),
                "; or set workspace, such as --set workspace=NAME",
            ),
        )
    return next(one.id for one in complete if subject not in subjects or one.subject == subject)


def newest(storage: Storage, subject: Subject) -> Manifest | None:
    """The newest complete backup of a workspace; None when there is none."""
    ids = sorted((name for name in storage.folders() if is_backup_id(name)), reverse=True)
    return next(
        (one.manifest for id in ids if (one := _one(storage, id, set())).subject == subject and one.manifest), None
    )


def find_parent(storage: Storage, subject: Subject, destination: Destination, notify: Notify) -> Chain | None:
    """What the next backup holds the changes to: the newest backup; None when it is time for a full one.

    Also None, with the reason reported, when the newest cannot be built on: it is damaged, it is encrypted and no
    identity opens it, or encryption was turned on or off since. Of its objects the indexes are read and compared with
    their SHA-256, of the others only the sizes: reading all rows again is for `verify`.
    """
    found = newest(storage, subject)
    if destination.full or found is None or found.generation + 1 >= destination.full_every:
        return None
    if reason := _unfit(found, destination):
        notify(Event(f"this is a full backup: {reason}"))
        return None
    try:
        chain = open_chain(storage, found.id, destination.identities)
        for link in chain.links:
            check_objects(storage, link.manifest)
            for part in (part for one in link.manifest.collections for part in one.index):
                link.archive.check(part)
    except LightragctlError as error:
        notify(Event(f"this is a full backup, as backup {found.id} cannot be used as its base: {error.message}"))
        return None
    return chain


def check_objects(storage: Storage, manifest: Manifest) -> None:
    """Does nothing when every object of a backup is there with its size; reads none.

    Raises:
        InvalidBackupError: one is missing or has another size.
    """
    sizes = storage.sizes(manifest.id)
    for one in manifest.stored():
        size = sizes.get(f"{manifest.id}/{one.path}")
        if size != one.size_bytes:
            has = "is missing" if size is None else f"has {size} bytes, not {one.size_bytes}"
            raise InvalidBackupError(f"backup {manifest.id} is damaged: {one.path} {has}")


def pruning(storage: Storage, subject: Subject, policy: Retention, now: datetime) -> Pruning:
    """What can be deleted of the backups of one workspace; deletes nothing.

    Raises:
        RefusedError: a backup has a newer format, so that it is unknown what it is based on.
    """
    found = listed(storage, now)
    for one in found:
        if one.state == "newer" and one.subject in (subject, None):
            raise RefusedError(f"nothing is deleted: {one.problem}", "prune with that version")
    complete = [one.manifest for one in found if one.manifest and one.subject == subject]
    known = [retention.Known(one.id, _time(one.started_at), one.parent) for one in complete]
    choice = retention.choose(known, policy)
    incomplete = tuple(one.id for one in found if one.state == "incomplete" and _is_of(one, subject, now))
    sizes = {id: sum(storage.sizes(id).values()) for id in (*choice.delete, *incomplete)}
    return Pruning(choice, incomplete, sizes)


def prune(storage: Storage, subject: Subject, agreed: Sequence[str], policy: Retention, held: lock.Lock) -> list[str]:
    """Deletes backups that were agreed on, as far as they can still be deleted; their ids.

    Args:
        storage: where they are.
        subject: whose they are.
        agreed: ids.
        policy: which to keep.
        held: the lock of the subject's backups.
    """
    still = set(pruning(storage, subject, policy, held.now()).deleted)
    deleted = []
    for id in (id for id in agreed if id in still):
        held.check()
        storage.delete(f"{id}/{MANIFEST_NAME}")  # from here on it is an incomplete one
        storage.delete_folder(id)
        deleted.append(id)
    return deleted


def rekey(storage: Storage, chain: Chain, recipients: Sequence[str], held: lock.Lock) -> list[str]:
    """Encrypts the keys of a backup and of those that it is based on for other recipients; ids of those that have one.

    The data stay as they are: who has kept a data key can still read them.

    Args:
        storage: where the backups are.
        chain: opened with an identity.
        recipients: public keys.
        held: the lock of the workspace's backups.
    """
    changed = []
    for link in chain.links:
        key, encryption = link.archive.key, link.manifest.encryption
        if key is None or encryption is None:
            continue
        held.check()
        wrapped = rewrap(key, recipients)
        storage.write(link.archive.path(encryption.key), wrapped)
        replaced = encryption.model_copy(update={"recipients": tuple(recipients)})
        manifest = link.manifest.model_copy(update={"encryption": replaced})
        storage.write(link.archive.path(MANIFEST_NAME), manifest.to_json())
        changed.append(link.manifest.id)
    return changed


def _one(storage: Storage, id: str, running: set[str]) -> Listed:
    at = datetime.strptime(id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    try:
        manifest = parse(storage.read(f"{id}/{MANIFEST_NAME}", MOST_MANIFEST_BYTES), id)
    except MissingObjectError:
        return Listed(id, "running" if id in running else "incomplete", at, _started_by(storage, id))
    except InvalidBackupError as error:
        return Listed(id, "damaged", at, _started_by(storage, id), problem=error.message)
    except RefusedError as error:
        return Listed(id, "newer", at, _started_by(storage, id), problem=error.message)
    return Listed(id, "complete", at, Subject(manifest.release, manifest.workspace), manifest)


def _started_by(storage: Storage, id: str) -> Subject | None:
    try:
        document = json.loads(storage.read(f"{id}/{STARTED_NAME}", _MOST_STARTED_BYTES))
        return Subject(str(document["release"]), str(document["workspace"]))
    except (MissingObjectError, ValueError, LookupError, TypeError):
        return None


def _is_of(one: Listed, subject: Subject, now: datetime) -> bool:
    return one.subject == subject or (one.subject is None and now - one.started_at > _UNCLAIMED)


def _unfit(parent: Manifest, destination: Destination) -> str:
    """Why a backup is not built on this one although it may be whole."""
    if (parent.encryption is None) != (not destination.recipients):
        return "encryption was turned on or off since the last one"
    if parent.encryption is not None and not destination.identities:
        return "the last one is encrypted, and backup.identity is not set"
    return ""


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
