"""Pods that a StatefulSet's controller would never replace."""

from typing import Any

import pytest

from lightragctl.observe.stuck_pods import stuck_pods


def stateful(partition: int = 0) -> dict[str, Any]:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "s", "uid": "u"},
        "spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}},
        "status": {"currentRevision": "s-old", "updateRevision": "s-new"},
    }


def pod(revision: str, *, ready: bool = False, owner: str = "u", ending: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": "s-0",
        "labels": {"controller-revision-hash": revision},
        "ownerReferences": [{"kind": "StatefulSet", "uid": owner}],
    }
    if ending:
        metadata["deletionTimestamp"] = "T"
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


@pytest.mark.parametrize(
    ("one", "partition", "stuck"),
    [
        (pod("s-bad"), 0, True),
        (pod("s-old"), 0, True),
        (pod("s-old"), 1, False),
        (pod("s-bad"), 1, True),
        (pod("s-new"), 0, False),
        (pod("s-bad", ready=True), 0, False),
        (pod("s-bad", owner="other"), 0, False),
        (pod("s-bad", ending=True), 0, False),
    ],
    ids=["bad", "old", "old below a partition", "bad below a partition", "new", "ready", "of others", "ending"],
)
def test_a_pod_is_stuck_when_it_is_not_ready_and_of_no_wanted_revision(
    one: dict[str, Any], partition: int, stuck: bool
) -> None:
    assert bool(stuck_pods(stateful(partition), [one])) is stuck
