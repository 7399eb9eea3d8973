"""What the API server says is told apart by its words: what cannot change, what is wrong, what we may not do."""

from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from kubernetes.client.api_client import ApiClient
from kubernetes.stream import ws_client
from websocket._url import get_proxy_info

from lightragctl.core.objects import ObjectRef
from lightragctl.kube.calls import Answer, Caller, Request
from lightragctl.kube.client import ClusterClient, connect
from lightragctl.kube.model import ForbiddenError, ImmutableFieldError, InvalidObjectError

CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "lightrag", "weights")


def answering(status: int, message: str) -> ClusterClient:
    """A client of a server that knows volume claims and says one thing of them."""
    kinds = [{"kind": "PersistentVolumeClaim", "name": "persistentvolumeclaims", "namespaced": True}]

    class Calls(Caller):
        def call(self, request: Request, within_s: float = 0.0) -> Answer:
            found = request.path == "/api/v1"
            return Answer(200, {"resources": kinds}) if found else Answer(status, {"message": message})

    return ClusterClient(cast(ApiClient, None), "test", Calls(None, "test"))


REFUSED = [
    (422, "spec.selector: Invalid value: {}: field is immutable", ImmutableFieldError),
    (422, "spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are", ImmutableFieldError),
    (422, "spec: Forbidden: spec is immutable after creation except resources.requests", ImmutableFieldError),
    (422, "spec.resources.requests: Forbidden: field can not be less than status.capacity", ImmutableFieldError),
    (422, "spec.resources.requests.storage: Invalid: field can not be less than previous value", ImmutableFieldError),
    (422, "value: Forbidden: may not be changed in an update.", ImmutableFieldError),
    (403, "is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
          "must support resize", ImmutableFieldError),
    (422, "spec.resources.requests.storage: Invalid value: '-1': must be greater than zero", InvalidObjectError),
    (403, "is forbidden: User ann cannot patch resource persistentvolumeclaims", ForbiddenError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message", "kind"), REFUSED, ids=[row[1][:40] for row in REFUSED])
def test_what_cannot_change_is_told_apart_from_what_is_wrong(status: int, message: str, kind: type[Exception]) -> None:
    client = answering(status, message)
    with pytest.raises(kind) as caught:
        client.get(CLAIM)
    assert type(caught.value) is kind
    assert message in str(caught.value)


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
clusters: [{name: c, cluster: {server: SERVER PROXY}}]
"""
ENVIRONMENT = "http://ann:s3cret@127.0.0.1:1"
ROUTES = [
    ("https://cluster.example:6443", "", {"https_proxy": ENVIRONMENT}, "http://127.0.0.1:1"),
    ("https://cluster.example:6443", "", {"HTTPS_PROXY": ENVIRONMENT}, "http://127.0.0.1:1"),
    ("https://cluster.example:6443", "", {"http_proxy": ENVIRONMENT}, None),
    ("https://192.0.2.254:6443", "", {"https_proxy": ENVIRONMENT, "no_proxy": "192.0.2.0/24"}, None),
    ("https://cluster.example:6443", "", {"https_proxy": ENVIRONMENT, "no_proxy": ".example"}, None),
    ("https://127.0.0.1:6443", "", {"https_proxy": ENVIRONMENT}, None),
    ("https://localhost:6443", "", {"https_proxy": ENVIRONMENT, "all_proxy": ENVIRONMENT}, None),
    (
        "https://cluster.example:6443",
        ", proxy-url: http://127.0.0.1:2",
        {"https_proxy": ENVIRONMENT},
        "http://127.0.0.1:2",
    ),
    ("https://cluster.example:6443", ", proxy-url: http://127.0.0.1:2", {"no_proxy": "*"}, "http://127.0.0.1:2"),
]


@pytest.mark.parametrize(("server", "own", "environ", "proxy"), ROUTES)
def test_the_api_server_is_asked_through_the_proxy_that_kubectl_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, own: str, environ: dict[str, str], proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "config"
    file.write_text(KUBECONFIG.replace("SERVER", f'"{server}"').replace(" PROXY", own))
    client = connect(file, None)
    pool = client.connection.rest_client.pool_manager
    assert (str(pool.proxy) if getattr(pool, "proxy", None) else None) == proxy
    configuration = client.connection.configuration
    options = ws_client.websocket_proxycare({}, configuration, "", {})
    host = urlsplit(server).hostname or ""
    found = get_proxy_info(
        host,
        True,
        options.get("http_proxy_host"),
        options.get("http_proxy_port", 0),
        options.get("http_proxy_auth"),
        options.get("http_no_proxy"),
    )
    assert found[:2] == ((None, 0) if proxy is None else (urlsplit(proxy).hostname, urlsplit(proxy).port))
    assert found[2] == (("ann", "s3cret") if proxy and proxy.endswith(":1") else None)
