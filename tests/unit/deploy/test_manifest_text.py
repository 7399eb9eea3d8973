"""Manifests as text: whatever a profile says, kubectl reads the objects that were meant, or there are none."""

import json

import pytest
import yaml

from lightragctl.core import assets
from lightragctl.core.errors import RefusedError
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.scalars import Loader
from lightragctl.core.serialize import yaml_documents
from lightragctl.deploy.render import render_plan
from lightragctl.release.profiles import load_profile, make_plan

SELECTOR = {"disk": "y", "arch": "1e3", "example.com/Zone": "no", "n": "0o7", "e": "", "d": "2024-01-01", "f": "1_000"}
ODD = "a\x85b\u2028c\u2029d\x7f\u009b\u202e\ufeff 知识 😀 \\ \" ' # : - {}"


def render(*sets: str, namespace: str | None = None) -> list[KubernetesObject]:
    loaded = load_profile("dev", assignments=sets, namespace=namespace)
    return render_plan(make_plan("rel", loaded), assets.root() / "templates")


def test_labels_that_look_like_something_else_stay_texts_for_every_reader() -> None:
    pool = f"pools={json.dumps({'p': {'node_selector': SELECTOR}})}"
    objects = render(pool, "components.embedder.pool=p", 'components.embedder.priority="1e3"')
    text = yaml_documents(objects)
    for documents in (list(yaml.safe_load_all(text)), list(yaml.load_all(text, Loader))):
        assert documents == objects
    for value in SELECTOR.values():
        assert f": '{value}'" in text
    assert "priorityClassName: '1e3'" in text


def test_a_model_server_may_have_a_name_that_yaml_takes_for_a_boolean() -> None:
    server = {"kind": "ollama", "image": {"repository": "ollama/ollama", "tag": "0.5.0"}, "model": "q", "gpus": 0}
    amounts = {"cpu": 1, "memory": "1Gi"}
    servers = {"on": {**server, "storage": 10, "resources": {"requests": amounts, "limits": amounts}}}
    sets = (f"components.model-server.servers={json.dumps(servers)}", "models.chat={name: q, server: 'on'}")
    objects = render(*sets, "components.mock-llm.enabled=false")
    roles = [one["metadata"]["name"] for one in objects if one["metadata"]["name"].startswith("rel-model-server-on")]
    assert len(roles) >= 3
    assert "lightragctl/role: 'on'" in yaml_documents(objects)


def test_any_text_reaches_the_settings_of_a_process() -> None:
    objects = render(f"models.chat.name={json.dumps(ODD)}", f"models.embedding.query_prefix={json.dumps(ODD)}")
    maps = [one for one in objects if one["kind"] == "ConfigMap" and "lightrag-api" in one["metadata"]["name"]]
    (back,) = [one for one in yaml.safe_load_all(yaml_documents(maps)) if "settings.json" in one["data"]]
    told = json.loads(back["data"]["settings.json"])
    assert (told["chat_model"], told["embedding"]["query_prefix"]) == (ODD, ODD)


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_a_release_in_a_namespace_of_the_cluster_is_refused(namespace: str) -> None:
    with pytest.raises(RefusedError, match="is a system namespace"):
        render(namespace=namespace)
    assert render(namespace="kube")
