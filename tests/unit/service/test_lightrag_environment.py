"""What upstream is started with, on which collections it may start, and when it counts as ready."""

from pathlib import Path

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.core.settings import EmbeddingModel, Index, LightragServerSettings
from lightragctl.service.lightrag_environment import (
    SILENT_S,
    UnsafeStartError,
    UpstreamHealth,
    check_collections,
    environment,
    inherited,
    query_error,
)

MODEL = EmbeddingModel(name="multilingual-e5-small", dimension=384)
SUFFIX = "multilingual_e5_small_384d"
OWN = tuple(f"w_{kind}_{SUFFIX}" for kind in ("chunks", "entities", "relationships"))


def told(**more: object) -> dict[str, str]:
    given = {"port": 9622, "vector_engine_uri": "http://milvus:19530", "gateway_url": "http://gateway:8081", **more}
    settings = LightragServerSettings.model_validate(given)
    added = {name: value for name, value in settings.environment.items() if isinstance(value, str)}
    return environment(settings, Path("/here"), "secret", added)


def test_it_is_told_where_everything_is_and_whom_to_let_in() -> None:
    variables = told()
    assert variables["WHITELIST_PATHS"] == "/health"
    assert variables["LIGHTRAG_API_KEY"] == "secret"
    assert variables["MILVUS_DB_NAME"] == ""
    assert variables["WORKING_DIR"] == "/here/rag_storage"
    assert variables["EMBEDDING_BINDING_HOST"] == "http://gateway:8081/v1"


def test_the_models_identity_is_the_profiles() -> None:
    variables = told(embedding=MODEL)
    assert (variables["EMBEDDING_MODEL"], variables["EMBEDDING_DIM"]) == ("multilingual-e5-small", "384")
    assert (variables["EMBEDDING_QUERY_PREFIX"], variables["EMBEDDING_DOCUMENT_PREFIX"]) == ("query: ", "passage: ")
    assert variables["EMBEDDING_ASYMMETRIC"] == "true"


def test_prefixes_that_are_not_there_are_said_in_upstreams_words() -> None:
    half = told(embedding=EmbeddingModel(query_prefix="", document_prefix="passage: "))
    assert half["EMBEDDING_QUERY_PREFIX"] == "NO_PREFIX"
    none = told(embedding=EmbeddingModel(query_prefix="", document_prefix=""))
    assert none["EMBEDDING_ASYMMETRIC"] == "false"
    assert "EMBEDDING_QUERY_PREFIX" not in none


def test_the_index_is_the_profiles_and_flat_is_left_to_milvus_lite() -> None:
    hnsw = told(index=Index(type="HNSW", m=24, ef_construction=300, ef=80))
    wanted = {"TYPE": "HNSW"}
    assert hnsw["MILVUS_INDEX_TYPE"] == wanted["TYPE"]
    assert [hnsw[f"MILVUS_HNSW_{key}"] for key in ("M", "EF_CONSTRUCTION", "EF")] == ["24", "300", "80"]
    assert told(index=Index(type="FLAT"))["MILVUS_INDEX_TYPE"] == "AUTOINDEX"


def test_more_variables_are_passed_on_but_not_those_that_follow_from_the_profile() -> None:
    assert told(environment={"SUMMARY_LANGUAGE": "Chinese"})["SUMMARY_LANGUAGE"] == "Chinese"
    with pytest.raises(UsageError, match="sets WHITELIST_PATHS, WORKSPACE"):
        told(environment={"WORKSPACE": "x", "WHITELIST_PATHS": "/*"})


def test_what_somebodys_shell_says_does_not_reach_upstream() -> None:
    shell = {"PATH": "/bin", "MILVUS_WORKSPACE": "theirs", "AUTH_ACCOUNTS": "a:b", "HTTP_PROXY": "http://proxy"}
    assert inherited(shell) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "names",
    [
        (),
        OWN,
        ("other_chunks_x_8d", "w_lightragctl"),
        (*OWN, "w_chunks"),
        (*OWN, "w_chunks_older_model_768d"),
    ],
    ids=["nothing", "its own", "of another workspace", "a leftover of old", "a leftover of another model"],
)
def test_it_may_start_on(names: tuple[str, ...]) -> None:
    check_collections("w", MODEL, names, {})


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("w_chunks",), "copy the vectors of w_chunks, whose embedding model is unknown"),
        (("w_entities",), "copy the vectors of w_entities"),
        (("w_chunks_older_model_768d",), "loaded with another model: w_chunks_older_model_768d"),
        ((f"w_chunks_{SUFFIX}_g1",), "loaded through lightrag-api"),
    ],
)
def test_it_may_not_start_on(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UnsafeStartError, match=reason):
        check_collections("w", MODEL, names, {})


def test_it_may_not_start_where_its_name_is_an_alias_of_ours() -> None:
    with pytest.raises(UnsafeStartError, match="loaded through lightrag-api"):
        check_collections("w", MODEL, ("physical",), {f"w_chunks_{SUFFIX}": "physical"})


@pytest.mark.parametrize(
    ("status", "document", "trouble"),
    [
        (200, {"status": "success"}, ""),
        (200, {"status": "failure", "metadata": {"failure_reason": "no_results"}}, ""),
        (200, {"status": "failure", "message": "broken"}, "a query failed: broken"),
        (200, None, "a query failed: no reason given"),
        (500, {"detail": "Milvus is gone"}, "a query got status 500: Milvus is gone"),
        (403, None, "a query got status 403: no reason given"),
    ],
)
def test_an_answer_says_whether_it_can_answer(status: int, document: object, trouble: str) -> None:
    assert query_error(status, document) == trouble


class TestHealth:
    """Readiness, on a clock of its own."""

    def setup_method(self) -> None:
        self.now_s = 0.0
        self.health = UpstreamHealth(lambda: self.now_s)

    def test_it_is_not_ready_before_its_first_answer(self) -> None:
        assert self.health.reason == "starting"
        self.health.note("nobody listens")
        assert self.health.reason == "nobody listens"
        self.health.note("")
        assert self.health.reason == ""

    def test_one_error_is_forgiven_and_the_second_is_not(self) -> None:
        self.health.note("")
        self.health.note("500")
        assert (self.health.reason, self.health.uncertain) == ("", True)
        self.health.note("500")
        assert self.health.reason == "500"

    def test_silence_is_forgiven_for_a_time(self) -> None:
        self.health.note("")
        self.now_s = SILENT_S - 1
        self.health.note_slow(30)
        assert self.health.reason == ""
        self.now_s = SILENT_S + 1
        self.health.note_slow(30)
        assert self.health.reason == "no response to a query within 30 s"
