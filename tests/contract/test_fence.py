"""The write fence on real stores: taker and writers are different clients, as on different machines."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lightragctl.core.result import Event
from lightragctl.service.collection_loader import CollectionLoader
from lightragctl.service.write_guard import FencedError, WriteGuard, WriterPace
from lightragctl.vectors.control import control_name
from lightragctl.vectors.fence import FenceHeldError, FenceTerms, begin_switch, end_switch, hold, switching, take
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import control_spec
from lightragctl.vectors.store import VectorStore
from tests.contract.conftest import CALL_S, Subject


def quiet(event: Event) -> None:
    """Nobody reads it."""


@pytest.fixture
def other(subject: Subject) -> Iterator[VectorStore]:
    """Another client of the same store."""
    if not isinstance(subject.store, MilvusStore):
        yield subject.store
        return
    store = MilvusStore(subject.store._uri, CALL_S)
    yield store
    store.close()


def test_a_fence_is_exclusive_among_clients_and_free_after_its_release(subject: Subject, other: VectorStore) -> None:
    one, two = FenceTerms("one", "backup one"), FenceTerms("two", "backup two", valid_s=3.0)
    with hold(subject.store, subject.name, FenceTerms("one", "backup one", valid_s=3.0), quiet) as fence:
        with pytest.raises(FenceHeldError, match="backup one"):
            take(other, subject.name, two, quiet)
        fence.confirm()
    with hold(other, subject.name, one, quiet) as fence:
        fence.confirm()


def test_a_write_of_another_client_ends_before_the_fence_is_had_and_the_next_is_refused(
    subject: Subject, other: VectorStore
) -> None:
    subject.store.create(control_spec(control_name(subject.name)))
    events: list[str] = []

    async def write(begun: Callable[[], None]) -> None:
        loads = CollectionLoader(other)
        guard = WriteGuard(loads, other, CALL_S, WriterPace(0.3, 10.0))
        async with guard.writing(subject.name) as turn:
            begun()
            await asyncio.sleep(2.0)
            await turn.commit()
            events.append("committed")
        while "taken" not in events:
            await asyncio.sleep(0.05)
        with pytest.raises(FencedError):
            async with guard.writing(subject.name):
                events.append("written")
        events.append("refused")
        guard.close()
        loads.close()

    begun = threading.Event()
    writer = threading.Thread(target=lambda: asyncio.run(write(begun.set)))
    writer.start()
    assert begun.wait(20)
    with hold(subject.store, subject.name, FenceTerms("one", "backup one"), quiet) as fence:
        events.append("taken")
        writer.join(30)
        fence.confirm()
    assert events == ["committed", "taken", "refused"]


def test_the_marker_of_a_switch_is_seen_by_another_client(subject: Subject, other: VectorStore) -> None:
    begin_switch(subject.store, subject.name, "restore-1")
    assert switching(other, subject.name) == "restore-1"
    end_switch(subject.store, subject.name, "restore-1")
    time.sleep(1.0)
    assert switching(other, subject.name) == ""
