"""The files of a workspace: where they are, which are copied, and putting them in place, killed at every step."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import AppliedRelease
from lightragctl.core.settings import LightragServerSettings
from lightragctl.core.stores import KINDS, database, in_postgres
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.release.placed_files import PlacedFiles, relocated
from lightragctl.release.workspace_files import (
    MOUNT,
    FileEntry,
    UnsupportedStoreError,
    WorkspaceFiles,
    check_stores,
    find_files,
    list_files,
    split,
)
from lightragctl.release.writers import WRITER
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import NAMESPACE, lock_holder, up


class Killed(BaseException):
    """The process ends here."""


def files(base: Path, workspace: str = "default") -> WorkspaceFiles:
    return WorkspaceFiles(workspace, base / "rag_storage", base / "inputs")


def fill(place: WorkspaceFiles, texts: dict[str, str]) -> None:
    for relative, text in texts.items():
        path = place.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(place: WorkspaceFiles) -> dict[str, str]:
    return {entry.path: place.path(entry.path).read_text() for entry in list_files(place)}


def settings(**environment: Any) -> LightragServerSettings:
    return LightragServerSettings(port=1, vector_engine_uri="u", gateway_url="g", environment=environment)


def test_all_files_of_the_workspace_are_listed_and_none_of_others(tmp_path: Path) -> None:
    place = files(tmp_path)
    fill(place, {"rag_storage/kv_store_a.json": "{}", "inputs/__parsed__/ü b/x.jsonl": "line", "inputs/a.pdf": ""})
    fill(place.of("other"), {"rag_storage/kv_store_a.json": "{}"})
    (tmp_path / "rag_storage" / "writer.lock").touch()
    (
        tmp_path / "rag_storage" / "default" / "kv_store_a.json.tmp.1.2.3"
    ).touch()  # of a write of upstream that was cut off
    assert list_files(place) == [
        FileEntry("inputs/__parsed__/ü b/x.jsonl", 4),
        FileEntry("inputs/a.pdf", 0),
        FileEntry("rag_storage/kv_store_a.json", 2),
    ]


def test_a_workspace_without_files_has_none(tmp_path: Path) -> None:
    assert list_files(files(tmp_path)) == []


def test_a_link_is_refused_and_named(tmp_path: Path) -> None:
    place = files(tmp_path)
    fill(place, {"rag_storage/a.json": ""})
    place.path("rag_storage/b.json").symlink_to("/etc/passwd")
    with pytest.raises(RefusedError, match=r"b\.json is not a regular file"):
        list_files(place)


@pytest.mark.parametrize(
    "relative",
    [
        *("", "a", "rag_storage", "rag_storage/", "/etc/passwd", "rag_storage/../x", "other/a", "rag_storage//a"),
        *("inputs/./a", "inputs/a\0b", "rag_storage/a/../../../x", ".."),
    ],
)
def test_a_path_that_leads_out_of_the_workspace_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UsageError):
        split(relative)
    placed = PlacedFiles(files(tmp_path), "op")
    placed.begin()
    with pytest.raises(UsageError):
        placed.write(relative, [b"x"])


@pytest.mark.parametrize(
    ("variable", "store"),
    [
        *(("LIGHTRAG_KV_STORAGE", f"{name}KVStorage") for name in ("Redis", "Mongo", "OpenSearch")),
        *(("LIGHTRAG_DOC_STATUS_STORAGE", f"{name}DocStatusStorage") for name in ("Redis", "Mongo", "OpenSearch")),
        *(
            ("LIGHTRAG_GRAPH_STORAGE", f"{name}Storage")
            for name in ("Neo4J", "PGGraph", "MongoGraph", "Memgraph", "OpenSearchGraph", "AGE")
        ),
        *(
            ("LIGHTRAG_VECTOR_STORAGE", f"{name}Storage")
            for name in ("PGVector", "NanoVectorDB", "FaissVectorDB", "QdrantVectorDB", "MongoVectorDB")
        ),
    ],
)
def test_a_store_that_cannot_be_copied_is_refused_by_its_name(variable: str, store: str) -> None:
    with pytest.raises(UnsupportedStoreError, match=f"{store}.*{variable}"):
        check_stores(settings(**{variable: store}))


@pytest.mark.parametrize("chosen", list(itertools.product((False, True), repeat=3)))
def test_files_and_tables_of_postgresql_are_copied_in_every_combination(chosen: tuple[bool, ...]) -> None:
    given = {kind.variable: kind.postgres for kind, is_table in zip(KINDS, chosen, strict=True) if is_table}
    check_stores(settings(**given, OTHER="x"))
    assert [kind in in_postgres(given) for kind in KINDS] == list(chosen)


def test_upstreams_own_file_stores_may_be_named() -> None:
    check_stores(settings(LIGHTRAG_KV_STORAGE="JsonKVStorage", LIGHTRAG_GRAPH_STORAGE="NetworkXStorage", OTHER="x"))


def test_rows_of_another_workspace_than_the_vectors_are_refused() -> None:
    with pytest.raises(UnsupportedStoreError, match="POSTGRES_WORKSPACE"):
        check_stores(settings(LIGHTRAG_KV_STORAGE="PGKVStorage", POSTGRES_WORKSPACE="other"))


def test_the_database_is_found_by_upstreams_variables_and_its_password_is_not_shown() -> None:
    found = database(
        {
            "POSTGRES_HOST": "db",
            "POSTGRES_PORT": "6432",
            "POSTGRES_PASSWORD": "hidden",
            "POSTGRES_SSL_MODE": "require",
            "POSTGRES_SERVER_SETTINGS": "search_path=rag&jit=off",
        }
    )
    assert (found.address, found.user, found.password) == ("db:6432/postgres", "postgres", "hidden")
    assert found.tls == {"sslmode": "require"}
    assert found.settings == {"search_path": "rag", "jit": "off"}
    assert "hidden" not in repr(found)
    assert database({}).address == "localhost:5432/postgres"
    assert database({}).settings == {}


def test_on_a_cluster_they_are_on_the_volume_of_the_servers_pod() -> None:
    cluster = FakeCluster()
    up(cluster)
    runtime = KubernetesRuntime(cluster, NAMESPACE, "dev", lock_holder())  # type: ignore[arg-type]
    found = find_files(runtime, "dev")
    assert found is not None
    assert found.roots == {
        "rag_storage": Path(MOUNT, "rag_storage", "default"),
        "inputs": Path(MOUNT, "inputs", "default"),
    }
    workload = cluster.objects[ObjectRef("apps/v1", "StatefulSet", NAMESPACE, f"dev-{WRITER}")]
    (template,) = workload["spec"]["volumeClaimTemplates"]
    assert found.claim == f"{template['metadata']['name']}-{workload['metadata']['name']}-0"
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert {"name": template["metadata"]["name"], "mountPath": MOUNT} in container["volumeMounts"]


def test_a_release_without_lightrag_server_has_none() -> None:
    class Runtime:
        def applied(self) -> AppliedRelease:
            return AppliedRelease("local", {"runtime": "local"}, {"lightrag-api": {}})

    assert find_files(Runtime(), "rel") is None  # type: ignore[arg-type]


def test_files_are_put_in_the_place_of_others_and_back(tmp_path: Path) -> None:
    place = files(tmp_path)
    fill(place, {"rag_storage/old.json": "old", "inputs/old.pdf": "old"})
    placed = PlacedFiles(place, "restore-1")
    placed.begin()
    placed.write("rag_storage/new.json", [b"ne", b"w"])
    assert content(place) == {"rag_storage/old.json": "old", "inputs/old.pdf": "old"}
    placed.complete("/elsewhere/inputs/default")
    placed.switch()
    assert placed.is_switched()
    assert content(place) == {"rag_storage/new.json": "new"}
    assert placed.kept_bytes() == 6
    placed.undo()
    assert content(place) == {"rag_storage/old.json": "old", "inputs/old.pdf": "old"}
    assert sorted(os.listdir(place.storage)) == ["default"]


def test_what_was_in_place_is_deleted_by_cleanup_alone(tmp_path: Path) -> None:
    placed = PlacedFiles(files(tmp_path), "restore-1")
    fill(placed.files, {"rag_storage/old.json": "old"})
    placed.begin()
    placed.write("rag_storage/new.json", [b"new"])
    placed.complete("/x")
    placed.switch()
    with pytest.raises(RefusedError, match="restore-1 has written its files already"):
        placed.begin()
    placed.cleanup()
    assert sorted(os.listdir(placed.files.storage)) == ["default"]
    assert content(placed.files) == {"rag_storage/new.json": "new"}


def test_they_are_put_under_another_name_beside_the_first(tmp_path: Path) -> None:
    place = files(tmp_path)
    fill(place, {"rag_storage/a.json": "a"})
    placed = PlacedFiles(place.of("copied"), "clone-1")
    placed.begin()
    for entry in list_files(place):
        placed.write(entry.path, [place.path(entry.path).read_bytes()])
    placed.complete(str(place.roots["inputs"]))
    placed.switch()
    assert content(place.of("copied")) == content(place)
    placed.undo()
    assert content(place.of("copied")) == {}


def test_paths_of_parsed_uploads_lead_to_the_new_place(tmp_path: Path) -> None:
    place = files(tmp_path, "new name")
    documents = {
        "doc-1": {
            "content": "a",
            "sidecar_location": "file:///var/lib/lightrag/inputs/default/__parsed__/a%20b.parsed/",
        },
        "doc-2": {"content": "file:///var/lib/lightrag/inputs/default/ is a text", "file_path": "b"},
        "doc-3": {"sidecar_location": "file:///var/lib/lightrag/inputs/default2/__parsed__/c/"},
        "doc-4": {"sidecar_location": "unknown_source"},
    }
    placed = PlacedFiles(place, "clone-1")
    placed.begin()
    placed.write("rag_storage/kv_store_full_docs.json", [json.dumps(documents).encode()])
    placed.complete("/var/lib/lightrag/inputs/default")
    placed.switch()
    stored = json.loads(place.path("rag_storage/kv_store_full_docs.json").read_text())
    assert stored["doc-1"]["sidecar_location"] == f"file://{tmp_path}/inputs/new%20name/__parsed__/a%20b.parsed/"
    assert {key: stored[key] for key in ("doc-2", "doc-3", "doc-4")} == {
        key: documents[key] for key in ("doc-2", "doc-3", "doc-4")
    }
    assert relocated(documents, "/x", "/x") is None


class Dying:
    """Renames; at the n-th the process dies, before or after that took effect."""

    def __init__(self, number: int, after: bool) -> None:
        self.left, self.after = number, after

    def __call__(self, old: Path, new: Path) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        old.rename(new)
        if self.left == 0:
            raise Killed


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("end", ["resumed", "undone"])
def test_killed_at_any_rename_it_is_resumed_or_undone_whole(tmp_path: Path, number: int, after: bool, end: str) -> None:
    place, old = files(tmp_path), {"rag_storage/old.json": "old", "inputs/old.pdf": "old"}
    fill(place, old)
    placed = PlacedFiles(place, "restore-1")
    placed.begin()
    new = {"rag_storage/new.json": "new", "inputs/new.pdf": "new"}
    for relative, text in new.items():
        placed.write(relative, [text.encode()])
    with pytest.raises(Killed):
        _put(replace(placed, rename=Dying(number, after)))
    again = PlacedFiles(place, "restore-1")
    if end == "resumed":
        _put(again)
        assert again.is_switched()
        assert content(place) == new
    else:
        again.undo()
        again.undo()
        assert content(place) == old
        assert sorted(os.listdir(place.storage)) == ["default"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 5))
def test_an_undo_that_is_killed_is_undone_whole(tmp_path: Path, number: int, after: bool) -> None:
    place, old = files(tmp_path), {"rag_storage/old.json": "old", "inputs/old.pdf": "old"}
    fill(place, old)
    placed = PlacedFiles(place, "restore-1")
    placed.begin()
    placed.write("rag_storage/new.json", [b"new"])
    _put(placed)
    with pytest.raises(Killed):
        replace(placed, rename=Dying(number, after)).undo()
    placed.undo()
    assert content(place) == old


def _put(placed: PlacedFiles) -> None:
    placed.complete("/elsewhere")
    placed.switch()
