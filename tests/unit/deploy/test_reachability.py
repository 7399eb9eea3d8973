"""Streams into pods: the right and the node are looked at before one is opened; a refusal is told in short."""

import threading
from typing import Any

import pytest

from lightragctl.core.errors import UnavailableError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.changeset import change, difference
from lightragctl.deploy.reachability import refuse_stream
from lightragctl.kube import streams
from lightragctl.kube.connection_errors import explain
from lightragctl.kube.model import ForbiddenError
from lightragctl.observe.pod_config import missing_config, stale_config
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import scope

POD: dict[str, Any] = {"metadata": {"name": "api-0"}, "spec": {"nodeName": "node-1"}}
NODE = ObjectRef("v1", "Node", "", "node-1")


def with_node(ready: str) -> FakeCluster:
    cluster = FakeCluster()
    condition = {"type": "Ready", "status": ready, "message": "Kubelet stopped posting", "lastTransitionTime": "12:00"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, "status": {"conditions": [condition]}}
    cluster.objects[NODE] = node
    return cluster


@pytest.mark.parametrize("subresource", ["exec", "portforward"])
def test_the_right_that_is_missing_is_named(subresource: str) -> None:
    cluster = with_node("True")
    refuse_stream(scope(cluster), subresource, POD)
    cluster.denied = {f"{verb} pods/{subresource}" for verb in ("get", "create")}
    with pytest.raises(ForbiddenError, match=f"create pods/{subresource}") as caught:
        refuse_stream(scope(cluster), subresource, POD)
    assert f"resources: [pods/{subresource}], verbs: [create, get]" in caught.value.hint


def test_a_node_that_is_silent_is_named_at_once() -> None:
    told = "Pod/api-0 is unreachable: its node node-1 is not ready since 12:00: Kubelet stopped posting"
    with pytest.raises(UnavailableError, match=told):
        refuse_stream(scope(with_node("Unknown")), "exec", POD)
    with pytest.raises(UnavailableError, match="its node node-1 is gone"):
        refuse_stream(scope(FakeCluster()), "exec", POD)
    hidden = with_node("Unknown")
    hidden.hidden = {"Node"}
    refuse_stream(scope(hidden), "exec", POD)


def test_a_stream_that_does_not_open_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="its node may be down"):
        streams.within_deadline(never.wait, 0.05)
    never.set()
    assert streams.within_deadline(lambda: 7) == 7


def test_a_refused_handshake_is_told_without_its_headers() -> None:
    dump = "(0)\nReason: Handshake status 403 Forbidden -+-+- {'audit-id': 'x'} -+-+- b'{}'"
    assert streams.handshake_cause(OSError(dump)) == "the API server returns 403 Forbidden"
    assert streams.handshake_cause(OSError("refused")) == "refused"


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: forged (_ssl.c:1)", "is not trusted: forged"),
        ("[Errno 111] Connection refused", "no response from the API server of prod: [Errno 111]"),
    ],
)
def test_an_untrusted_certificate_is_no_silence(cause: str, told: str) -> None:
    assert told in explain("prod", "", cause)[0]


def config_map(text: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n"},
        "data": {"s.json": text},
    }


def test_a_changed_setting_is_one_line_of_the_difference() -> None:
    before = "{\n" + "".join(f' "key{number}": {number},  \n' for number in range(60)) + "}\n"
    shown = difference(change(config_map(before), config_map(before.replace(": 30,", ": 31,"))), b"").text
    changed = [line for line in shown.splitlines()[2:] if line[0] in "+-"]
    assert changed == ['-     "key30": 30,␠␠', '+     "key30": 31,␠␠']
    only_blanks = difference(change(config_map(before), config_map(before.replace("30,  ", "30,"))), b"").text
    assert '+     "key30": 30,' in only_blanks.splitlines()


WORKLOAD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "w", "namespace": "n"},
    "spec": {
        "selector": {"matchLabels": {}},
        "template": {"spec": {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}},
    },
}


def test_what_is_gone_is_told_with_who_reads_it() -> None:
    secret = ObjectRef("v1", "Secret", "n", "s")
    (found,) = missing_config([WORKLOAD], [], {secret: None})
    assert (found.code, found.subject) == ("config-missing", "Secret/s")
    assert "read by Deployment/w" in found.message
    assert missing_config([WORKLOAD], [], {}) == []
    live = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}}
    asks = {**live, "metadata": {**live["metadata"], "annotations": {"lightragctl/generate": "a, b"}}}
    (lost,) = missing_config([], [asks], {secret: {**live, "data": {"a": "x"}}})
    assert (lost.code, lost.message) == ("secret-key-missing", "has no b")
    assert stale_config([WORKLOAD], [], {secret: live}) == []
