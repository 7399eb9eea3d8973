"""Conditions, generations, owners and labels are read one way, whatever the API server leaves out."""

import pytest

from lightragctl.core.objects import KubernetesObject
from lightragctl.kube.labels import component_of, object_selector, pod_selector
from lightragctl.kube.objects import (
    condition,
    controller_of,
    has_condition,
    is_current,
    is_ready,
    is_terminating,
    labels_of,
    observed_generation,
    owner_of,
    status_of,
)


def with_status(**status: object) -> KubernetesObject:
    return {"metadata": {"name": "a", "generation": 2}, "status": status}


@pytest.mark.parametrize("thing", [{}, {"metadata": None, "status": None}, {"metadata": {"labels": None}}])
def test_what_the_server_left_out_reads_as_empty(thing: KubernetesObject) -> None:
    assert (labels_of(thing), status_of(thing), component_of(thing)) == ({}, {}, "")
    assert not is_ready(thing)
    assert not is_terminating(thing)
    assert owner_of(thing, "ReplicaSet") is None


def test_a_condition_is_found_by_its_type_and_judged_by_its_value() -> None:
    status = {"conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}]}
    assert condition(status, "Ready") == {"type": "Ready", "status": "False"}
    assert has_condition(status, "Ready", "False")
    assert not has_condition(status, "PodScheduled", "False")
    assert not is_ready({"status": status})


def test_a_status_is_current_once_it_describes_the_newest_generation() -> None:
    assert not is_current(with_status(observedGeneration=1))
    assert is_current(with_status(observedGeneration=2))
    assert not is_current(with_status())
    assert observed_generation(with_status()) is None


def test_owners_are_told_apart_by_kind_and_by_who_controls() -> None:
    owners = [{"kind": "Backup", "name": "b"}, {"kind": "ReplicaSet", "name": "r", "controller": True}]
    thing = {"metadata": {"ownerReferences": owners}}
    assert (owner_of(thing, "Backup"), controller_of(thing)) == (owners[0], owners[1])


def test_selectors_name_the_release_and_its_component() -> None:
    assert pod_selector("a") == "app.kubernetes.io/instance=a"
    assert pod_selector("a", "etcd") == "app.kubernetes.io/instance=a,app.kubernetes.io/component=etcd"
    assert object_selector("a") == "app.kubernetes.io/instance=a,app.kubernetes.io/managed-by=lightragctl"
