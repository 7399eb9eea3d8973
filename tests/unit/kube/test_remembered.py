"""A cluster that is read once: each object is requested once, by however many readers; errors are remembered too."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lightragctl.core.objects import ObjectRef
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.remembered import RememberedCluster
from tests.fakes.cluster import FakeCluster

PODS = ("v1", "Pod", "here", "")


class Counting(FakeCluster):
    asked = 0

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, object]]:
        self.asked += 1
        return super().select(api_version, kind, namespace, selector)


def test_readers_at_the_same_time_make_one_request() -> None:
    inner = Counting()
    seen = RememberedCluster.of(inner)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: seen.select(*PODS), range(8)))
    assert found == [[]] * 8
    assert inner.asked == 1


def test_a_missing_right_is_told_to_every_reader() -> None:
    inner = Counting()
    inner.hidden = {"Pod"}
    seen = RememberedCluster.of(inner)
    for _ in range(2):
        with pytest.raises(ForbiddenError):
            seen.select(*PODS)
    assert inner.asked == 1


def test_it_is_not_written_to() -> None:
    with pytest.raises(RuntimeError):
        RememberedCluster.of(FakeCluster()).delete(ObjectRef("v1", "Pod", "here", "one"), "uid")
