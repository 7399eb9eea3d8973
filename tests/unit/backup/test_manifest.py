"""What a manifest may say, and what is refused of hostile ones."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lightragctl.backup.manifest import InvalidBackupError, backup_id, is_backup_id, object_path, parse, sealed
from lightragctl.core.errors import RefusedError
from tests.fakes.backup import CHUNKS, Workspace, memory
from tests.unit.backup.test_create import backed_up

ID = "20261130T120001Z-00000001"


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    workspace = Workspace()
    workspace.fill(3)
    return backed_up(workspace, memory()).model_dump(mode="json")


def changed(document: dict[str, Any], path: str, value: Any) -> bytes:
    copy = json.loads(json.dumps(document))
    *steps, last = path.split(".")
    inner: Any = copy
    for step in steps:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    return sealed(copy)


def test_a_manifest_reads_as_it_was_written(good: dict[str, Any]) -> None:
    assert parse(sealed(good), ID).model_dump(mode="json") == good


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("files.0.name", "../../etc/passwd"),
        ("files.0.name", "/etc/passwd"),
        ("files.0.name", "a/../../b"),
        ("files.0.name", "a//b"),
        ("files.0.name", "a\0b"),
        ("files.0.name", "x" * 2000),
        ("files.0.name", "a\ud800"),
        ("files.0.path", "../20260101T000000Z-00000000/manifest.json"),
        ("files.0.path", "/absolute"),
        ("files.0.path", "manifest.json"),
        ("files.0.path", "a\nb"),
        ("files.0.path", "s3://other/bucket"),
        ("files.0.size_bytes", -1),
        ("files.0.size_bytes", 2**60),
        ("files.0.size_bytes", "12"),
        ("files.0.size_bytes", True),
        ("files.0.sha256", "00"),
        ("collections.0.name", "a; drop"),
        ("collections.0.rows", 1.5),
        ("collections.0.unique_keys", 4),
        ("collections.0.changed_rows", 2),
        ("collections.0.parts.0.size_bytes", 2**40),
        ("collections.0.parts", None),
        ("collections.0.incremental", True),
        ("collections.0.surprise", 1),
        ("consistency.method", "hope"),
        ("generation", 3),
        ("parent", ID),
        ("parent", "../x"),
        ("id", "20261130T120001Z-ffffffff"),
        ("encryption", {"method": "rot13", "key": "k", "recipients": []}),
        ("files", None),
        ("started_at", "yesterday"),
        ("format", 0),
        ("format", "1"),
    ],
)
def test_a_hostile_or_broken_manifest_is_refused(good: dict[str, Any], path: str, value: Any) -> None:
    with pytest.raises(InvalidBackupError):
        parse(changed(good, path, value), ID)


@pytest.mark.parametrize("key", ["collections", "files", "consistency", "id", "format", "encryption"])
def test_every_part_is_needed(good: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidBackupError):
        parse(sealed({name: value for name, value in good.items() if name != key}), ID)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}', b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900],
)
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidBackupError):
        parse(text, ID)


def test_a_truncated_manifest_is_refused(good: dict[str, Any]) -> None:
    whole = sealed(good)
    for length in range(0, len(whole) - 1, 97):
        with pytest.raises(InvalidBackupError):
            parse(whole[:length], ID)


def test_one_object_for_two_files_is_refused(good: dict[str, Any]) -> None:
    with pytest.raises(InvalidBackupError, match="named twice"):
        parse(changed(good, "documents.0.path", good["files"][0]["path"]), ID)


def test_a_newer_format_names_what_to_do() -> None:
    with pytest.raises(RefusedError, match="has format 2; this version reads up to 1"):
        parse(b'{"format": 2, "else": "unknown"}', ID)


def test_ids_sort_by_time_and_are_the_only_folders_that_count() -> None:
    made = backup_id(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "0a1b2c3d")
    assert made == "20260102T030405Z-0a1b2c3d"
    assert is_backup_id(made)
    assert not any(map(is_backup_id, ["20269999T000000Z-00000000", ".locks", "x" + made, made + "/..", made.lower()]))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("kv_store_full_docs.json", "files/kv_store_full_docs.json"),
        ("inputs/报告 1.pdf", "files/_000007"),
        ("new\nline", "files/_000007"),
        ("_000001", "files/_000007"),
        (".hidden", "files/.hidden"),
    ],
)
def test_a_file_is_kept_under_its_name_where_any_store_can_have_it(name: str, path: str) -> None:
    assert object_path("files", name, 7) == path


def test_the_definition_of_a_collection_is_checked_when_it_is_read(good: dict[str, Any]) -> None:
    from lightragctl.backup.chain import definition

    entry = parse(changed(good, "collections.0.definition", {"name": CHUNKS}), ID).collections[0]
    with pytest.raises(InvalidBackupError, match=CHUNKS):
        definition(entry)
