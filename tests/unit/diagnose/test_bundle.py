"""A bundle holds what its allow-list names and nothing else: planted secrets and texts are hunted in it."""

import io
import json
import tarfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose import keys
from lightragctl.diagnose.bundle import bounded, read_bundle, write_bundle
from lightragctl.diagnose.projection import projected
from lightragctl.diagnose.signatures import SIGNATURES, count_signs
from lightragctl.diagnose.text import hint_data, hint_of, redacted
from tests.fakes import diagnosed as healthy
from tests.unit.diagnose.faults import FAULTS

PLANTED = "planted-s3cret"
KEY = "sk-live0123456789abcdef"


def sown(thing: dict[str, Any]) -> dict[str, Any]:
    """The object with a planted text in fields that no check reads, at each of its levels."""
    extra = {"data": {"x": PLANTED}, "unknown": [{"deep": PLANTED}]}
    annotated = {"annotations": {"note": PLANTED}, "managedFields": [{"x": PLANTED}]}
    spec = {**thing["spec"], **extra}
    if "containers" in spec:
        spec["containers"] = [{**one, **extra, "env": [{"name": "X", "value": PLANTED}]} for one in spec["containers"]]
    status = {**thing["status"], **extra}
    return {**thing, **extra, "metadata": {**thing["metadata"], **annotated}, "spec": spec, "status": status}


def workload() -> dict[str, Any]:
    one = healthy.workload("lightrag-api")
    one["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": PLANTED}
    one["metadata"]["managedFields"] = [{"fieldsV1": {PLANTED: {}}}]
    container = one["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "API_KEY", "value": PLANTED}, {"name": "MODE", "value": PLANTED}]
    container["args"] = [f"--api-key={PLANTED}", PLANTED]
    container["command"] = [PLANTED]
    container["livenessProbe"] = {"exec": {"command": [PLANTED]}, "periodSeconds": 5}
    return one


def test_of_an_object_only_named_fields_are_kept() -> None:
    for thing in (workload(), sown(healthy.pod("embedder")), sown(healthy.service("embedder")), sown(healthy.node())):
        assert PLANTED not in json.dumps(projected(thing))


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap", "Foo"])
def test_of_a_kind_without_a_list_only_its_name_is_kept(kind: str) -> None:
    thing = {**healthy.thing(kind, "keys"), "data": {"key": b64encode(PLANTED.encode()).decode(), "text": PLANTED}}
    kept = projected(thing)
    assert kept["metadata"]["name"] == "keys"
    assert "data" not in kept


def test_a_secret_in_plain_text_is_told_by_its_name_alone() -> None:
    container = projected(workload())["spec"]["template"]["spec"]["containers"][0]
    assert container["secretNames"] == ["--api-key", "API_KEY"]
    assert [one["name"] for one in container["env"]] == ["API_KEY", "MODE"]


def test_what_a_container_printed_is_not_kept() -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": PLANTED}}
    assert PLANTED not in json.dumps(projected(healthy.pod("embedder", last=ended)))


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {KEY}",
        f"http://user:{KEY}@models.example/v1",
        f"Incorrect API key provided: {KEY}",
        "-----BEGIN PRIVATE KEY----- MIIabc -----END PRIVATE KEY-----",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
        "AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_texts_of_others_lose_what_looks_like_a_secret(text: str) -> None:
    shown = redacted(text)
    for planted in (KEY, "MIIabc", "0123456789abcdefghij", "eyJzdWIi", "ABCDEFGHIJKLMNOP"):
        assert planted not in shown


def test_private_facts_never_leave_the_process(tmp_path: Path) -> None:
    facts = healthy.cluster()
    facts.put(keys.LAST_LINES, {"pod": [f"question: {PLANTED}"]})
    file = tmp_path / "b.tar.gz"
    write_bundle(file, facts, "1")
    with tarfile.open(file) as archive:
        member = archive.extractfile("facts.json")
        assert member is not None
        assert PLANTED not in member.read().decode()
    assert "not in a bundle" in read_bundle(file).reason(keys.LAST_LINES)


def test_a_bundle_gives_the_facts_that_were_put_in(tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    for make in (healthy.local, healthy.cluster):
        facts = make()
        file.unlink(missing_ok=True)
        assert write_bundle(file, facts, "1") == file.stat().st_size
        assert read_bundle(file).values == facts.values


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        write_bundle(file, healthy.local(), "1")
    assert file.read_text() == "mine"


def test_a_bundle_is_bounded_and_says_what_was_left_out() -> None:
    document = {"facts": {"small": 1, "large": "x" * 1000}, "missing": {}}
    found = bounded(document, 100)
    assert (found["facts"], list(found["missing"])) == ({"small": 1}, ["large"])


def archive_of(text: bytes, name: str = "facts.json") -> bytes:
    made = io.BytesIO()
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.addfile(entry, io.BytesIO(text))
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        archive_of(b"{}", "other"),
        archive_of(b"not json"),
        archive_of(b"[]"),
        archive_of(b'{"schema": "other"}'),
        archive_of(b'{"schema": "lightragctl/bundle/v1", "facts": {"store": {"reached": "perhaps"}}}'),
    ],
    ids=["empty", "text", "other-member", "not-json", "list", "other-schema", "unknown-value"],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "b.tar.gz"
    file.write_bytes(content)
    with pytest.raises(UsageError):
        read_bundle(file)


def test_hints_survive_as_data() -> None:
    hint = Hint("see ", Command("logs", "embedder"), ", then ", Command("up"))
    again = hint_of(json.loads(json.dumps(hint_data(hint))))
    assert again.line(["--name", "x"], []) == hint.line(["--name", "x"], [])


@pytest.mark.parametrize("one", SIGNATURES, ids=lambda one: one.name)
def test_every_signature_is_of_use(one: Any) -> None:
    assert one.meaning
    assert isinstance(one.fix, Hint)


def test_known_errors_are_counted_and_their_lines_are_not_kept() -> None:
    lines = [f"write /data: No space left on device {PLANTED}", "INFO all is well", "x: No space left on device"]
    assert count_signs(lines) == {"disk-full": 2}
    facts = FAULTS["LR180"].facts()
    assert facts[keys.SIGNS] == {"embedder": {"disk-full": 3}}
