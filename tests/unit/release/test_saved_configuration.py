"""The configuration that is saved with a workspace: whole, without secrets unless requested, and what to recreate."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import NeededSecret
from lightragctl.core.settings import EmbeddingModel
from lightragctl.deploy.applied import needed_secrets
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.local.files import DesiredProcess, DesiredProcesses, Environments, ReleaseFiles
from lightragctl.local.runtime import LocalRuntime
from lightragctl.release.saved_configuration import (
    configuration,
    model_identities,
    secret_manifests,
    secret_variables,
    to_recreate,
)
from lightragctl.vectors.control import ModelIdentity, control_name, control_row, model_key
from lightragctl.vectors.model import control_spec
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import KEYS, NAMESPACE, lock_holder, up
from tests.fakes.store import FakeStore

VERSIONS = {"milvus": "2.3.5", "lightrag": "1.5.7"}
CHAT_SECRET = (
    "models.chat={name: x, url: https://models.example.com/v1, api_key: {secret: {name: chat-key, key: token}}}"
)


def on_cluster(*assignments: str) -> tuple[FakeCluster, KubernetesRuntime]:
    cluster = FakeCluster()
    if assignments:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat-key", "namespace": NAMESPACE}}
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.create({**secret, "data": {"token": base64.b64encode(b"chat-secret").decode()}})
    up(cluster, *assignments)
    return cluster, KubernetesRuntime(cluster, NAMESPACE, "dev", lock_holder())  # type: ignore[arg-type]


def test_a_cluster_releases_configuration_has_everything_but_the_values_of_secrets() -> None:
    cluster, runtime = on_cluster()
    document = configuration("dev", runtime.applied(), VERSIONS)
    text = json.dumps(document)
    assert (document["profile_name"], document["values"]["runtime"]) == ("dev", "kubernetes")
    assert document["settings"]["lightrag-server"]["workspace"] == "default"
    assert document["versions"].keys() == {"lightragctl", "milvus", "lightrag"}
    assert document["images"]["StatefulSet/dev-vector-engine"]
    assert {thing["kind"] for thing in document["objects"]} >= {"StatefulSet", "Deployment", "Service", "Secret"}
    keys = cluster.objects[KEYS]["data"]
    assert keys
    assert not any(value in text for value in keys.values())
    assert "secret_values" not in document


def test_secrets_that_up_does_not_generate_are_to_be_recreated() -> None:
    _, runtime = on_cluster(CHAT_SECRET)
    document = configuration("dev", runtime.applied(), VERSIONS)
    assert {one["name"] for one in document["secrets"]} >= {"chat-key", KEYS.name}
    assert to_recreate(document) == [NeededSecret("chat-key", ("token",))]


def test_with_its_secrets_nothing_is_to_be_recreated_and_clients_keep_their_keys() -> None:
    cluster, runtime = on_cluster(CHAT_SECRET)
    document = configuration("dev", runtime.applied(include_secrets=True), VERSIONS)
    assert to_recreate(document) == []
    made = {one["metadata"]["name"]: one["data"] for one in secret_manifests(document, "elsewhere")}
    assert made["chat-key"] == {"token": base64.b64encode(b"chat-secret").decode()}
    assert made[KEYS.name].items() <= cluster.objects[KEYS]["data"].items()
    assert all(one["metadata"]["namespace"] == "elsewhere" for one in secret_manifests(document, "elsewhere"))


def test_a_secret_that_is_gone_is_to_be_recreated_even_so() -> None:
    cluster, runtime = on_cluster(CHAT_SECRET)
    del cluster.objects[ObjectRef("v1", "Secret", NAMESPACE, "chat-key")]
    document = configuration("dev", runtime.applied(include_secrets=True), VERSIONS)
    assert to_recreate(document) == [NeededSecret("chat-key", ("token",))]


def test_every_way_in_which_a_pod_reads_a_secret_counts() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [
            {
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "a"}}}],
                "envFrom": [{"secretRef": {"name": "all"}}],
            }
        ],
        "volumes": [{"secret": {"secretName": "tls"}}, {"projected": {"sources": [{"secret": {"name": "part"}}]}}],
    }
    workload = {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": {"spec": spec}}}
    assert [one.name for one in needed_secrets([workload])] == ["all", "one", "part", "pull", "tls"]
    assert {one.name: one.keys for one in needed_secrets([workload])}["one"] == ("a",)


def local(tmp_path: Path) -> LocalRuntime:
    files = ReleaseFiles(tmp_path / "rel")
    files.prepare()
    process = DesiredProcess(
        name="model-gateway", argv=(), digest="d", port=1, ready_path=None, start_timeout_s=1.0, stop_grace_s=1.0
    )
    wanted = DesiredProcesses(release="rel", profile_name="local", profile={"runtime": "local"}, processes=(process,))
    files.write_desired(wanted)
    reference = {"env": "CHAT_KEY", "file": None, "secret": None}
    files.settings("model-gateway").write_text(json.dumps({"chat": {"api_key": reference}, "routes": [1]}))
    files.write_environments(
        Environments(salt="s", processes={"model-gateway": {"CHAT_KEY": "s3cret", "HTTP_PROXY": "p"}})
    )
    return LocalRuntime("rel", files)


def test_a_local_releases_secrets_are_environment_variables(tmp_path: Path) -> None:
    runtime = local(tmp_path)
    document = configuration("rel", runtime.applied(), VERSIONS)
    assert "s3cret" not in json.dumps(document)
    assert to_recreate(document) == [NeededSecret("CHAT_KEY")]
    runtime.files.remove_environments()  # as `down` does
    assert to_recreate(configuration("rel", runtime.applied(), VERSIONS)) == [NeededSecret("CHAT_KEY")]
    whole = configuration("rel", local(tmp_path).applied(include_secrets=True), VERSIONS)
    assert secret_variables(whole) == {"CHAT_KEY": "s3cret"}
    assert secret_manifests(whole, "x") == []
    assert to_recreate(whole) == []


@pytest.mark.parametrize("document", [{}, {"schema": "lightragctl/configuration/v2"}])
def test_a_document_of_another_version_is_not_misread(document: dict[str, Any]) -> None:
    with pytest.raises(LightragctlError, match="schema"):
        to_recreate(document)


def test_the_models_of_the_vectors_are_read_from_the_control_collection() -> None:
    store, model = FakeStore(), EmbeddingModel(name="words", dimension=64)
    assert model_identities(store, "default") == {}
    store.create(control_spec(control_name("default")))
    identity = ModelIdentity("words", 64, "q: ", "d: ", "AAAA")
    store.upsert(control_name("default"), [control_row(model_key(model), identity, 1)])
    assert model_identities(store, "default") == {model.suffix: msgspec.to_builtins(identity)}
