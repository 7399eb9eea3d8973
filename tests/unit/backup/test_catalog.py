"""Listing and pruning."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lightragctl.backup.catalog import chosen, listed, prune, pruning
from lightragctl.backup.lock import Holder, Lock, Subject
from lightragctl.backup.storage import Storage
from lightragctl.core.backup import Retention
from lightragctl.core.errors import LockedError, RefusedError, UsageError
from tests.fakes.backup import Died, DyingStorage, Workspace, memory
from tests.unit.backup.test_create import backed_up, verified

LAST = Retention(last=1, daily=0, weekly=0, monthly=0)


def workspace() -> Workspace:
    made = Workspace()
    made.fill(5)
    return made


def pruned(storage: Storage, of: Workspace, policy: Retention = LAST) -> list[str]:
    planned = pruning(storage, of.subject, policy, of.clock.now())
    with Lock(storage, of.subject, Holder("ann@host", "backup prune"), of.clock.now) as held:
        return prune(storage, of.subject, planned.deleted, policy, held)


def test_old_backups_go_and_the_newest_stays_readable() -> None:
    made, storage = workspace(), memory()
    ids = [backed_up(made, storage, full_every=2).id for _ in range(4)]
    assert pruned(storage, made) == [ids[1], ids[0]]
    assert [one.id for one in listed(storage, made.clock.now())] == [ids[3], ids[2]]
    assert verified(storage, ids[3]).problems == []


def test_interrupted_backups_are_listed_and_go() -> None:
    made, storage = workspace(), memory()
    with pytest.raises(Died):
        backed_up(made, DyingStorage(storage, 4, after=False))
    assert [one.state for one in listed(storage, made.clock.now())] == ["running"]
    assert pruning(storage, made.subject, LAST, made.clock.now()).deleted == ()
    made.clock.at += timedelta(minutes=5)
    assert [one.state for one in listed(storage, made.clock.now())] == ["incomplete"]
    assert len(pruned(storage, made)) == 1
    assert listed(storage, made.clock.now()) == []


def test_backups_of_other_workspaces_stay() -> None:
    made, storage = workspace(), memory()
    other = Workspace(store=made.store, clock=made.clock)
    other.subject = type(made.subject)("local", "manuals")
    for one in (made, other, made, other):
        backed_up(one, storage, full_every=1)
    assert len(pruned(storage, made)) == 1
    assert [one.subject and one.subject.workspace for one in listed(storage, made.clock.now())].count("manuals") == 2


def test_prune_waits_for_no_backup_that_is_being_made() -> None:
    made, storage = workspace(), memory()
    held = Lock(storage, made.subject, Holder("bob@host", "backup create"), made.clock.now)
    with held, pytest.raises(LockedError, match="bob@host"):
        pruned(storage, made)
    assert pruned(storage, made) == []


def test_a_newer_format_stops_pruning() -> None:
    made, storage = workspace(), memory()
    id = backed_up(made, storage).id
    storage.write(f"{id}/manifest.json", b'{"format": 2}')
    assert listed(storage, made.clock.now())[0].state == "newer"
    with pytest.raises(RefusedError, match="has format 2"):
        pruning(storage, made.subject, LAST, made.clock.now())


def test_a_damaged_manifest_is_listed_and_kept() -> None:
    made, storage = workspace(), memory()
    id = backed_up(made, storage).id
    storage.write(f"{id}/manifest.json", b"{")
    backed_up(made, storage)
    assert listed(storage, made.clock.now())[1].state == "damaged"
    assert pruned(storage, made) == []


def test_latest_is_the_newest_complete_one() -> None:
    made, storage = workspace(), memory()
    with pytest.raises(UsageError):
        chosen(storage, "latest", made.subject, made.clock.now())
    id = backed_up(made, storage).id
    storage.write("20300101T000000Z-00000000/started.json", b"{}")
    assert chosen(storage, "latest", made.subject, made.clock.now()) == id
    with pytest.raises(UsageError):
        chosen(storage, "../x", made.subject, made.clock.now())


def test_latest_is_of_the_workspace_that_is_meant() -> None:
    made, storage = workspace(), memory()
    manuals, notes = (replace(made, subject=Subject("local", name)) for name in ("manuals", "notes"))
    id = backed_up(manuals, storage).id
    assert chosen(storage, "latest", made.subject, made.clock.now()) == id
    backed_up(notes, storage)
    with pytest.raises(UsageError, match=r"no backup of workspace 'default'.*'manuals' of release 'local', 'notes'"):
        chosen(storage, "latest", made.subject, made.clock.now())
    mine = backed_up(made, storage).id
    backed_up(notes, storage)
    assert chosen(storage, "latest", made.subject, made.clock.now()) == mine


@pytest.mark.parametrize("after", [False, True])
def test_killed_while_pruning_no_backup_is_half_there(after: bool) -> None:
    for at in range(40):
        made, storage = workspace(), memory()
        ids = [backed_up(made, storage, full_every=1).id for _ in range(2)]
        try:
            pruned(DyingStorage(storage, at, after), made)
        except Died:
            for one in listed(storage, made.clock.now()):
                assert one.state != "complete" or verified(storage, one.id).problems == []
            made.clock.at += timedelta(minutes=5)
            pruned(storage, made)
        else:
            assert at > 8
            return
        assert [one.id for one in listed(storage, made.clock.now())] == [ids[1]]
    pytest.fail("pruning never ended")
