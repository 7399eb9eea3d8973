"""The key that a command shows to a component of a release: the one that the component itself asks for."""

import base64
from typing import Any, cast

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.runtime import KubernetesRuntime
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import KEYS, NAMESPACE, lock_holder, up

SERVER_KEYS = ObjectRef("v1", "Secret", NAMESPACE, "dev-lightrag-server-keys")
OURS = "components.lightrag-api.api_key={secret: {name: ours, key: k}}"


def released(*assignments: str, ours: bytes = b"") -> tuple[FakeCluster, KubernetesRuntime]:
    """A release, and a Secret `ours` beside it that holds these keys."""
    cluster = FakeCluster()
    data = {"k": base64.b64encode(ours).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ours", "namespace": NAMESPACE}, "data": data}
    cluster.objects[ObjectRef("v1", "Secret", NAMESPACE, "ours")] = secret
    up(cluster, *assignments)
    return cluster, KubernetesRuntime(cast(Any, cluster), NAMESPACE, "dev", lock_holder())


def test_a_generated_key_is_read_from_the_secret_that_up_made() -> None:
    cluster, runtime = released("components.lightrag-api.api_key=generated")
    made = [base64.b64decode(cluster.objects[one]["data"]["api-keys"]).decode() for one in (KEYS, SERVER_KEYS)]
    assert [runtime.api_key(), runtime.api_key("lightrag-server")] == made


def test_the_first_key_of_somebody_elses_secret_is_taken() -> None:
    _, runtime = released(OURS, ours=b"first\nsecond\n")
    assert runtime.api_key() == "first"


def test_a_secret_without_the_key_is_named() -> None:
    _, runtime = released(OURS)
    with pytest.raises(LightragctlError, match="Secret/ours has no key k"):
        runtime.api_key()


def test_who_asks_for_no_key_gets_none() -> None:
    _, runtime = released("components.lightrag-api.api_key=none")
    assert (runtime.api_key(), runtime.api_key("embedder")) == (None, None)
