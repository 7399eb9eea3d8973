"""Revisions: how they are kept, which are dropped, which one a rollback takes."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.objects import ref
from lightragctl.core.runtime import Revision, RevisionOutcome
from lightragctl.deploy.revision import (
    CHUNK_BYTES,
    KEEP,
    expired_revisions,
    from_config_maps,
    redacted,
    rollback_revision,
    to_config_maps,
    with_current_outcomes,
    with_secrets,
)
from lightragctl.deploy.revision_store import drop_all_revisions, read_revision, read_revisions, write_revision
from tests.fakes.cluster import DiedError, FakeCluster
from tests.fakes.release import scope, target, up

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c", "namespace": "lightrag"},
    "data": {"k": "值"},
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "lightrag"},
    "data": {"k": "dg=="},
}
REVISION = Revision(
    number=3,
    who="ann@laptop",
    at="2026-01-01T00:00:00Z",
    version="0.1.0",
    profile_name="dev",
    values={"workspace": "默认"},
    outcome=RevisionOutcome.APPLIED,
    description="1 created",
    objects=(CONFIG,),
    requires={"api": ("store",), "store": ()},
)


def huge(number: int = 3) -> Revision:
    """One whose objects do not compress into a single ConfigMap."""
    text = random.Random(0).randbytes(CHUNK_BYTES * 2).hex()
    return replace(REVISION, number=number, objects=({**CONFIG, "data": {"k": text}},))


def many(*outcomes: RevisionOutcome) -> list[Revision]:
    return [replace(REVISION, number=number, outcome=outcome) for number, outcome in enumerate(outcomes, 1)]


def test_a_revision_comes_back_as_it_was_written() -> None:
    (index,) = to_config_maps(REVISION, "dev", "lightrag")
    assert from_config_maps(index) == REVISION


def test_a_big_revision_is_cut_and_its_index_comes_last() -> None:
    *chunks, index = to_config_maps(huge(), "dev", "lightrag")
    assert len(chunks) > 1
    assert all(len(json.dumps(one)) < 900 * 1024 for one in (*chunks, index))
    assert [ref(one).name for one in (*chunks, index)][-2:] == [
        f"dev-lightragctl-r3-{len(chunks) - 1}",
        "dev-lightragctl-r3",
    ]
    assert from_config_maps(index, chunks) == huge()
    assert from_config_maps(index).objects == ()


def test_a_big_revision_is_written_read_and_deleted_whole() -> None:
    cluster = FakeCluster()
    write_revision(scope(cluster), huge())
    assert read_revision(scope(cluster), 3) == huge()
    assert [one.number for one in read_revisions(scope(cluster))] == [3]
    missing = next(identity for identity in cluster.objects if identity.name.endswith("-r3-0"))
    kept = cluster.objects.pop(missing)
    with pytest.raises(LightragctlError, match="revision 3 lacks 1 of its"):
        read_revision(scope(cluster), 3)
    cluster.objects[missing] = kept
    drop_all_revisions(scope(cluster))
    assert cluster.objects == {}


def test_a_death_between_chunks_leaves_no_revision_and_the_next_run_writes_it() -> None:
    cluster = FakeCluster(die_at=2)
    with pytest.raises(DiedError):
        write_revision(scope(cluster), huge())
    cluster.revive()
    assert read_revisions(scope(cluster)) == []
    write_revision(scope(cluster), huge())
    assert read_revision(scope(cluster), 3) == huge()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 1}', "null"])
def test_a_damaged_revision_is_named(text: str) -> None:
    (index,) = to_config_maps(REVISION, "dev", "lightrag")
    index["data"]["revision.json"] = text
    with pytest.raises(LightragctlError, match="ConfigMap/dev-lightragctl-r3 in lightrag is not a valid revision"):
        from_config_maps(index)


def test_a_revision_of_a_newer_version_is_refused() -> None:
    (index,) = to_config_maps(REVISION, "dev", "lightrag")
    index["data"]["revision.json"] = json.dumps(json.loads(index["data"]["revision.json"]) | {"schema": 99})
    with pytest.raises(LightragctlError, match="newer lightragctl"):
        from_config_maps(index)


@pytest.mark.parametrize("part", ["data", "stringData"])
def test_no_value_of_a_secret_gets_into_a_revision(part: str) -> None:
    secret = {**{key: value for key, value in SECRET.items() if key != "data"}, part: {"k": "c2VjcmV0"}}
    assert redacted(secret)["data"] == {"k": "lightragctl/in-secret:s/k"}
    assert "c2VjcmV0" not in str(redacted(secret))
    assert redacted({**CONFIG}) == CONFIG


def test_a_generated_key_gets_into_no_record_and_no_revision() -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster, "components.embedder.replicas=2")
    keys = [thing["data"]["api-keys"] for thing in cluster.objects.values() if thing["kind"] == "Secret"]
    revisions = [read_revision(scope(cluster), number) for number in (1, 2)]
    kept = [thing for thing in cluster.objects.values() if thing["kind"] == "ConfigMap"]
    assert keys
    assert not any(key in str((revisions, kept)) for key in keys)


def test_a_secret_gets_the_value_that_is_there_and_is_refused_when_there_is_none() -> None:
    there = {ref(SECRET): {**SECRET, "data": {"k": "bmV3"}}}
    assert with_secrets(redacted(SECRET), there)["data"] == {"k": "bmV3"}
    with pytest.raises(RefusedError, match="Secret/s no longer has k"):
        with_secrets(redacted(SECRET), {})
    bare = redacted({key: value for key, value in SECRET.items() if key != "data"})
    assert with_secrets(bare, {}) == bare


def test_what_became_of_revisions_is_told_from_those_that_follow() -> None:
    written = many(RevisionOutcome.APPLIED, RevisionOutcome.FAILED, RevisionOutcome.APPLIED, RevisionOutcome.APPLYING)
    told = [(one.number, str(one.outcome)) for one in with_current_outcomes(written, applying=None)]
    assert told == [(4, "interrupted"), (3, "applied"), (2, "failed"), (1, "superseded")]
    assert with_current_outcomes(written, applying=4)[0].outcome is RevisionOutcome.APPLYING


def test_the_newest_stay_and_so_does_the_last_that_was_applied() -> None:
    written = many(RevisionOutcome.APPLIED, *[RevisionOutcome.FAILED] * (KEEP + 1))
    assert expired_revisions(written) == [2]
    assert expired_revisions(many(*[RevisionOutcome.APPLIED] * (KEEP + 2))) == [2, 1]


@pytest.mark.parametrize(
    ("outcomes", "asked", "found"),
    [
        ((RevisionOutcome.APPLIED, RevisionOutcome.APPLIED), None, 1),
        ((RevisionOutcome.APPLIED, RevisionOutcome.FAILED), None, 1),
        ((RevisionOutcome.APPLIED, RevisionOutcome.APPLIED, RevisionOutcome.FAILED), None, 2),
        ((RevisionOutcome.APPLIED, RevisionOutcome.FAILED, RevisionOutcome.APPLYING), None, 1),
        ((RevisionOutcome.FAILED, RevisionOutcome.APPLIED), 1, 1),
    ],
)
def test_a_rollback_takes_the_last_good_one_before_the_present(
    outcomes: tuple[RevisionOutcome, ...], asked: int | None, found: int
) -> None:
    assert rollback_revision(many(*outcomes), asked).number == found


@pytest.mark.parametrize(
    ("outcomes", "asked"),
    [((RevisionOutcome.APPLIED,), None), ((RevisionOutcome.FAILED, RevisionOutcome.FAILED), None)],
)
def test_without_a_good_one_there_is_nothing_to_go_back_to(outcomes: tuple[RevisionOutcome, ...], asked: Any) -> None:
    with pytest.raises(RefusedError, match="no earlier applied revision"):
        rollback_revision(many(*outcomes), asked)
    with pytest.raises(RefusedError, match="revision 9 does not exist"):
        rollback_revision(many(*outcomes), 9)


def test_only_the_newest_ten_are_kept() -> None:
    cluster = FakeCluster()
    for replicas in range(KEEP + 3):
        up(cluster, f"components.embedder.replicas={1 + replicas % 3}")
    numbers = sorted(one.number for one in read_revisions(scope(cluster)))
    assert numbers == list(range(4, KEEP + 4))
    assert target().components
