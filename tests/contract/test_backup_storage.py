"""What every place of backups promises: memory, a folder, and a real S3 server; and what faults of one lead to."""

import contextlib
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lightragctl.backup.catalog import listed
from lightragctl.backup.storage import (
    Access,
    MissingObjectError,
    Patience,
    Storage,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    failure,
    open_storage,
)
from lightragctl.core.errors import RefusedError, UsageError
from tests.cluster.backing import S3, make_s3
from tests.cluster.images import recipe
from tests.cluster.kept import kept
from tests.fakes.backup import Workspace
from tests.fakes.s3 import FAULTS, FailingS3, failing_s3, faulty_proxy
from tests.ports import free_port
from tests.unit.backup.test_create import backed_up, content, held, verified

KEYS = ("testkey", "a secret of 20 bytes")
QUICK = Patience(request_s=5, stalled_s=5, retries=3, total_s=10, back_off_s=0.01)


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on a folder, the one of the test cluster; its address."""
    base = tmp_path_factory.mktemp("s3")
    layer = kept(f"layer-s3-{S3}-{recipe(make_s3)}", make_s3)
    with tarfile.open(layer / "layer.tar") as packed:
        packed.extractall(base, filter="data")
    (base / "data" / "bucket").mkdir(parents=True)
    port = free_port()
    variables = {"ROOT_ACCESS_KEY": KEYS[0], "ROOT_SECRET_KEY": KEYS[1], "PATH": os.environ["PATH"]}
    command = [base / "usr/local/bin/versitygw", "--port", f"127.0.0.1:{port}", "posix", base / "data"]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_up(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def _until_up(url: str) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            httpx.get(url, timeout=1)
        except httpx.TransportError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.slow)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return open_storage("memory://")
    if request.param == "file":
        return open_storage(f"file://{tmp_path}/a%20b")
    access = Access(request.getfixturevalue("s3_server"), "us-east-1", True, *KEYS)
    return open_storage(f"s3://bucket/{tmp_path.name}/a%20b", access, QUICK)


def test_an_object_is_read_as_it_was_written(storage: Storage) -> None:
    storage.write("a/b", b"one")
    storage.write("a/b", b"two")
    assert storage.read("a/b", 3) == b"two"
    assert b"".join(storage.chunks("a/b")) == b"two"
    with pytest.raises(StorageError, match="more than 2"):
        storage.read("a/b", 2)


def test_an_object_is_created_once(storage: Storage) -> None:
    assert [storage.create("a", b"1"), storage.create("a", b"2")] == [True, False]
    assert storage.read("a", 9) == b"1"


def test_a_large_object_is_written_in_pieces_or_not_at_all(storage: Storage) -> None:
    with storage.writing("large") as target:
        for _ in range(5):
            target.write(bytes(4_000_000))
    assert sum(map(len, storage.chunks("large"))) == 20_000_000
    with contextlib.suppress(KeyError), storage.writing("broken") as target:
        target.write(bytes(20_000_000))
        raise KeyError
    assert storage.sizes("") == {"large": 20_000_000}


def test_folders_and_sizes(storage: Storage) -> None:
    for path in ("a/1", "a/b/2", "ab/3", "top"):
        storage.write(path, b"x" * len(path))
    assert storage.folders() == ["a", "ab"]
    assert storage.sizes("a") == {"a/1": 3, "a/b/2": 5}
    storage.delete_folder("a")
    assert sorted(storage.sizes("")) == ["ab/3", "top"]
    assert storage.folders() == ["ab"]


def test_what_is_missing(storage: Storage) -> None:
    with pytest.raises(MissingObjectError):
        storage.read("none", 9)
    with pytest.raises(MissingObjectError):
        list(storage.chunks("none"))
    assert storage.sizes("none") == {}
    storage.delete("none")


def test_a_backup_goes_there_and_back(storage: Storage) -> None:
    workspace = Workspace()
    workspace.fill(40)
    workspace.files["kv.json"] = os.urandom(1_000_000)
    first, second = backed_up(workspace, storage), backed_up(workspace, storage)
    assert second.parent == first.id
    assert verified(storage, second.id).problems == []
    assert content(storage, second.id) == held(workspace)
    storage.delete_folder(second.id)
    assert [one.id for one in listed(storage, workspace.clock.now())] == [first.id]


@pytest.fixture
def faulty() -> Iterator[tuple[FailingS3, Storage]]:
    with failing_s3() as (service, url):
        yield service, open_storage("s3://bucket/x", Access(url, "us-east-1", True, *KEYS), QUICK)


@pytest.mark.parametrize("fault", ["500", "503", "cut", "slow"])
def test_a_fault_that_passes_is_not_noticed(faulty: tuple[FailingS3, Storage], fault: str) -> None:
    service, storage = faulty
    service.faults = [fault, fault]
    storage.write("a", b"data")
    service.faults = [fault]
    assert storage.read("a", 9) == b"data"


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_a_fault_that_stays_is_an_error_that_names_the_object(faulty: tuple[FailingS3, Storage], fault: str) -> None:
    service, storage = faulty
    service.always = fault
    with pytest.raises(StorageUnavailableError, match="cannot write s3://bucket/x/a") as raised:
        storage.write("a", b"data")
    assert service.requests > 1
    assert "max_retries" not in raised.value.message
    assert KEYS[1] not in raised.value.message + raised.value.hint


@pytest.mark.drill
def test_backups_go_through_a_proxy_that_fails_every_fifth_request(s3_server: str, tmp_path: Path) -> None:
    workspace = Workspace()
    workspace.files["kv.json"] = os.urandom(20_000_000)
    patience = Patience(request_s=30, stalled_s=30, retries=8, total_s=60, back_off_s=0.05)
    with faulty_proxy(s3_server, 0.2, seed=7) as (done, url):
        storage = open_storage(f"s3://bucket/{tmp_path.name}", Access(url, "us-east-1", True, *KEYS), patience)
        for number in range(5):
            workspace.fill(40 + number)
            made = backed_up(workspace, storage)
            assert verified(storage, made.id).problems == []
            assert content(storage, made.id) == held(workspace)
    faults = {fault: done.count(fault) for fault in sorted({*done} - {""})}
    print(f"5 backups, {len(done)} requests, faults {faults}")
    assert len(faults) == len(FAULTS)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [(KEYS[0], "wrong"), ("nobody", KEYS[1])])
def test_wrong_credentials_are_told_apart(s3_server: str, keys: tuple[str, str]) -> None:
    storage = open_storage("s3://bucket/x", Access(s3_server, "us-east-1", True, *keys), QUICK)
    for act in (lambda: storage.write("a", b"x"), lambda: storage.sizes(""), lambda: storage.read("a", 9)):
        with pytest.raises(StorageError) as raised:
            act()
        assert "check the credentials" in raised.value.hint


@pytest.mark.slow
def test_a_missing_bucket_is_named(s3_server: str) -> None:
    storage = open_storage("s3://nowhere/x", Access(s3_server, "us-east-1", True, *KEYS), QUICK)
    with pytest.raises(StorageError, match="s3://nowhere/x does not exist"):
        storage.write("a", b"x")


def test_a_full_disk_is_named() -> None:
    system = OSError("Generic LocalFileSystem error: Unable to copy data: No space left on device (os error 28)")
    error = failure("file:///backups", "write", "a", system)
    assert isinstance(error, StorageFullError)
    assert "is full" in error.message
    assert "backup prune" in error.hint


@pytest.mark.parametrize("url", ["s3://", "file://host/path", "file://", "nowhere://x", "pvc://"])
def test_what_is_no_place_for_backups(url: str) -> None:
    with pytest.raises(UsageError):
        open_storage(url)


def test_a_path_is_shown_as_a_url() -> None:
    with pytest.raises(UsageError, match="'/mnt/my backups' is not a URL") as caught:
        open_storage("/mnt/my backups")
    assert "file:///mnt/my%20backups" in caught.value.hint


def test_a_folder_to_read_from_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        open_storage(f"file://{tmp_path}/typo", missing="refuse")
    assert open_storage(f"file://{tmp_path}/later", missing="empty").folders() == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is not a folder"):
        open_storage(f"file://{tmp_path}/file")


def test_a_claim_needs_a_pod_that_mounts_it() -> None:
    with pytest.raises(RefusedError, match="not mounted"):
        open_storage("pvc://backups/path")


def test_access_shows_no_secret() -> None:
    assert KEYS[1] not in repr(Access("http://x", None, True, *KEYS))
