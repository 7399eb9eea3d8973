"""Recorded questions of several replicas: one list, newest first, and what is told of a replica that is silent."""

from collections.abc import Sequence

import pytest

from lightragctl.client.api import ApiError, RecordedQuestion
from lightragctl.client.recordings import ReadRecordings, read_all
from lightragctl.core.errors import UnavailableError


def asked(at: float) -> RecordedQuestion:
    rest = {"workspace": "w", "top_k": 5, "kind": "chunks", "filter": "", "collection": "c", "ids": [], "took_ms": 1}
    return RecordedQuestion.model_validate({"at": at, "query": f"asked at {at:g}", **rest})


def replica(*instants: float) -> ReadRecordings:
    def read(limit: int) -> Sequence[RecordedQuestion]:
        return [asked(at) for at in instants][:limit]

    return read


def failing(error: Exception) -> ReadRecordings:
    def read(limit: int) -> Sequence[RecordedQuestion]:
        raise error

    return read


@pytest.mark.parametrize(
    ("replicas", "limit", "wanted"),
    [
        ({"a": replica(9, 4, 1), "b": replica(8, 5)}, 10, [9, 8, 5, 4, 1]),
        ({"a": replica(9, 4, 1), "b": replica(8, 5)}, 3, [9, 8, 5]),
        ({"a": replica(3, 2, 1), "b": replica(9, 8, 7)}, 3, [9, 8, 7]),
        ({"a": replica(2, 1), "b": replica()}, 5, [2, 1]),
        ({"a": replica()}, 5, []),
    ],
)
def test_the_newest_of_all_replicas_come_first(
    replicas: dict[str, ReadRecordings], limit: int, wanted: list[float]
) -> None:
    found = read_all(replicas, limit)
    assert ([one.at for one in found.questions], found.missing) == (wanted, [])


def test_a_silent_replica_is_told_and_the_others_are_listed() -> None:
    found = read_all({"a": failing(UnavailableError("nothing answers at a")), "b": replica(2, 1)}, 5)
    assert [one.at for one in found.questions] == [2, 1]
    assert found.missing == ["replica a did not answer: nothing answers at a"]


def test_when_all_are_silent_the_first_says_why() -> None:
    none = ApiError("questions are not recorded", status=404, code="recording-disabled")
    with pytest.raises(ApiError) as caught:
        read_all({"a": failing(none), "b": failing(UnavailableError("gone"))}, 5)
    assert caught.value.code == "recording-disabled"
