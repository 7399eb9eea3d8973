"""Encrypted backups: for several recipients, readable by each, changed bytes refused."""

import pyrage
import pytest

from lightragctl.backup.catalog import rekey
from lightragctl.backup.chain import open_chain
from lightragctl.backup.encryption import DecryptionError, check_recipients, new_key, open_key, rewrap
from lightragctl.backup.lock import Holder, Lock
from lightragctl.backup.verify import verify
from lightragctl.core.errors import UsageError
from tests.fakes.backup import Workspace, memory
from tests.unit.backup.test_create import backed_up, content, held, verified
from tests.unit.backup.test_verify import flipped

ALICE, BOB, EVE = (pyrage.x25519.Identity.generate() for _ in range(3))
PUBLIC = (str(ALICE.to_public()), str(BOB.to_public()))


def test_each_recipient_reads_it_and_nobody_else() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(20)
    made = backed_up(workspace, storage, recipients=PUBLIC)
    for identity in (ALICE, BOB):
        assert content(storage, made.id, (f"# a comment\n{identity}\n",)) == held(workspace)
        assert verified(storage, made.id, (str(identity),)).problems == []
    with pytest.raises(DecryptionError, match="none of 1 identities"):
        open_chain(storage, made.id, (str(EVE),))
    with pytest.raises(DecryptionError, match="no identity"):
        open_chain(storage, made.id)


def test_nothing_of_the_data_is_stored_in_the_clear() -> None:
    workspace, storage = Workspace(), memory()
    workspace.files = {"kv.json": b"a very secret text"}
    workspace.fill(3)
    made = backed_up(workspace, storage, recipients=PUBLIC)
    stored = {path: storage.read(path, 10**9) for path in storage.sizes(made.id)}
    assert all(data.startswith(b"age-encryption.org/v1") for path, data in stored.items() if path.endswith(".age"))
    assert {path.rpartition("/")[2] for path in stored if not path.endswith(".age")} == {
        "manifest.json",
        "started.json",
    }
    assert not any(b"secret text" in data or b"text of k" in data for data in stored.values())


def test_without_an_identity_sizes_and_digests_are_verified() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(3)
    made = backed_up(workspace, storage, recipients=PUBLIC)
    chain = open_chain(storage, made.id, None)
    found = verify(chain, 1.0, lambda: 0.0, lambda event: None)
    assert (found.ok, found.contents, found.rows) == (True, False, 0)
    flipped(storage, f"{made.id}/{made.collections[0].parts[0].path}", 100)
    assert not verify(chain, 1.0, lambda: 0.0, lambda event: None).ok


def test_the_next_backup_is_incremental_only_with_an_identity() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(3)
    first = backed_up(workspace, storage, recipients=PUBLIC)
    assert backed_up(workspace, storage, recipients=PUBLIC, identities=(str(BOB),)).parent == first.id
    assert backed_up(workspace, storage, recipients=PUBLIC).parent is None
    assert "backup.identity is not set" in "".join(event.message for event in workspace.events)


def test_turning_encryption_on_makes_a_full_backup() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(3)
    backed_up(workspace, storage)
    assert backed_up(workspace, storage, recipients=PUBLIC, identities=(str(BOB),)).parent is None


def test_recipients_change_without_the_data() -> None:
    key, wrapped = new_key(PUBLIC)
    sealed = key.seal(b"data")
    again = rewrap(open_key(wrapped, (str(ALICE),)), (str(EVE.to_public()),))
    assert open_key(again, (str(EVE),)).open(sealed, "x") == b"data"
    with pytest.raises(DecryptionError):
        open_key(again, (str(ALICE),))


def test_recipients_of_a_chain_change() -> None:
    workspace, storage = Workspace(), memory()
    workspace.fill(20)
    backed_up(workspace, storage, recipients=PUBLIC)
    made = backed_up(workspace, storage, recipients=PUBLIC, identities=(str(BOB),))
    chain = open_chain(storage, made.id, (str(BOB),))
    with Lock(storage, workspace.subject, Holder("ann@host", "backup rekey"), workspace.clock.now) as lock:
        assert len(rekey(storage, chain, (str(EVE.to_public()),), lock)) == 2
    assert content(storage, made.id, (str(EVE),)) == held(workspace)
    assert verified(storage, made.id, (str(EVE),)).problems == []
    with pytest.raises(DecryptionError):
        open_chain(storage, made.id, (str(BOB),))


def test_a_key_shows_nothing_of_itself() -> None:
    key, _ = new_key(PUBLIC)
    assert "SECRET" not in f"{key!r} {key}"


@pytest.mark.parametrize("text", ["age1x", "ssh-rsa nothing", str(EVE), ""], ids=["short", "ssh", "secret", "empty"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_recipients([text])
    assert "AGE-SECRET-KEY-" not in refused.value.message
