"""What the API server says is told apart by its words: what cannot change, what is wrong, what we may not do."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client.api_client import ApiClient

from lightragctl.core.objects import ObjectRef
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.model import ForbiddenError, ImmutableFieldError, InvalidObjectError

CLAIM = ObjectRef("v1", "PersistentVolumeClaim", "lightrag", "weights")


class Answers:
    """The official client's connection, to a server that knows volume claims and says one thing of them."""

    configuration = SimpleNamespace(host="http://cluster")

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message

    def update_params_for_auth(self, *parts: Any) -> None:
        """Nobody asks who we are."""

    def call_api(self, method: str, url: str, *parts: Any, **options: Any) -> SimpleNamespace:
        kinds = [{"kind": "PersistentVolumeClaim", "name": "persistentvolumeclaims", "namespaced": True}]
        told = {"resources": kinds} if url.endswith("/api/v1") else {"message": self.message}
        status = 200 if url.endswith("/api/v1") else self.status
        return SimpleNamespace(status=status, read=lambda: json.dumps(told).encode())


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
    client = ClusterClient(cast(ApiClient, Answers(status, message)), "test")
    with pytest.raises(kind) as caught:
        client.get(CLAIM)
    assert type(caught.value) is kind
    assert message in str(caught.value)
