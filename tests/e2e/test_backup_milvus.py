"""Backups of the real Milvus on bad days: it is killed during the scan; and 200,000 rows."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lightragctl.backup import restore
from lightragctl.backup.chain import open_chain
from lightragctl.backup.progress import Progress
from lightragctl.backup.saving import Hold
from lightragctl.backup.source import Source
from lightragctl.operations.kind import Context
from lightragctl.operations.model import Phase
from lightragctl.vectors.collections import MilvusCollections
from lightragctl.vectors.rows import RowBatch
from tests.bench import backups as bench
from tests.bench.copies import SCHEMA
from tests.milvus.server import MilvusServer
from tests.unit.backup.test_create import verified
from tests.unit.backup.test_saving import Made

pytestmark = [pytest.mark.milvus, pytest.mark.drill, pytest.mark.timeout(1800)]

NAME, ROWS, PAGE = bench.NAME, 20_000, 3


@dataclass
class OnMilvus(Made):
    """Its collection is on the real Milvus, which is killed and started again at a page of the first scan."""

    server_of_rows: MilvusServer | None = None
    killed: int = 0

    @contextmanager
    def source(self, context: Context, hold: Hold | None) -> Iterator[Source]:
        assert self.server_of_rows is not None
        with closing(MilvusCollections(self.server_of_rows.uri, 20)) as store, super().source(context, hold) as found:
            read = store.read_rows

            def reading(name: str, *more: object, **options: object) -> Iterator[RowBatch]:
                for number, batch in enumerate(read(name, *more, **options)):  # type: ignore[arg-type]
                    if number == PAGE and not self.killed:
                        self.restart()
                    yield batch

            store.read_rows = reading  # type: ignore[method-assign]
            yield replace(
                found, store=store, collections=lambda: [NAME], search=lambda _, __, rows, ___: [[]] * len(rows)
            )

    def restart(self) -> None:
        assert self.server_of_rows is not None
        self.killed += 1
        self.server_of_rows.kill()
        self.server_of_rows.start()

    def pause(self, seconds: float) -> None:
        super().pause(seconds)
        if self.killed:
            time.sleep(min(seconds, 2.0))


@contextmanager
def filled(uri: str, rows: int) -> Iterator[MilvusCollections]:
    with closing(MilvusCollections(uri, 60, 600)) as store:
        store.drop(NAME)
        store.create_from(SCHEMA, NAME)
        store.write_rows(NAME, bench.batches(range(rows)))
        store.flush(NAME)
        store.load(NAME)
        try:
            yield store
        finally:
            store.drop(NAME)


def test_milvus_that_is_killed_during_the_scan_costs_only_time(milvus: MilvusServer, tmp_path: Path) -> None:
    with filled(milvus.uri, ROWS):
        made = OnMilvus(tmp_path, server_of_rows=milvus)
        record = made.drive()
        assert (record.phase, made.killed, made.states()) == (Phase.SUCCEEDED, 1, ["complete"]), record.cause
        assert record.results["made"]["rows"] == ROWS
        print(f"attempts of the copy after the kill: {[event.message for event in made.events if event.passing][:5]}")
        assert verified(made.storage, record.results["made"]["id"]).problems == []
        chain = open_chain(made.storage, record.results["made"]["id"])
        with closing(MilvusCollections(milvus.uri, 60, 600)) as store:
            progress = Progress(lambda event: None, time.monotonic, ROWS, "restored")
            restore.write_collection(chain.rows(NAME), chain.definition(NAME), store, "bench_restored", progress)
            differences = restore.compare(store, "bench_restored", restore.expected(chain, NAME), progress)
            store.drop("bench_restored")
        assert differences == []


def test_two_hundred_thousand_rows(milvus: MilvusServer, tmp_path: Path) -> None:
    peaks = bench.steps(milvus.uri, str(tmp_path), 200_000)
    ours = {step: peak for step, peak in peaks.items() if step != "plain"}
    assert max(ours.values()) < 400, peaks  # MiB; 250 is the aim
