"""What a search decides: what to try, the next value of a knob, who goes on, the frontier, the pick and the reasons."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lightragctl.cli.tune.parsing import milliseconds, seconds, size_bytes
from lightragctl.core.errors import LockedError, UsageError
from lightragctl.core.settings import Index
from lightragctl.tune.bisect import least_value, next_value
from lightragctl.tune.ledger import Pick, Subject, locked, open_ledger, pick_of
from lightragctl.tune.points import Built, Option, Point, Targets, conclude, frontier, rungs, survivors
from lightragctl.tune.space import GUIDE, LIVE, Candidate, candidates, current_candidate
from lightragctl.vectors.applied import AppliedIndex

CURRENT = current_candidate(AppliedIndex("HNSW", "COSINE", {"M": 16, "efConstruction": 200}), Index())
SUBJECT = Subject("c_g1", 1000, 10, 0, "abc", "same")


def point(name: str, recall: float, rate: float, value: int = 32, rows: int = 1000, p95_ms: float = 2.0) -> Point:
    return Point(name, rows, value, {"ef": value}, recall, recall, recall, 1.0, p95_ms, rate)


def option(name: str, recall: float, rate: float, size: int = 100, **more: object) -> Option:
    kind = str(more.pop("index_type", "HNSW"))
    metric, role, search = str(more.pop("metric", "COSINE")), str(more.pop("role", "")), more.pop("search", ())
    made = Candidate(name, kind, metric, (), 0.0, role, search)  # type: ignore[arg-type]
    return Option(made, point(name, recall, rate, **more), size, 1.0)  # type: ignore[arg-type]


def test_the_current_index_and_the_guides_are_always_tried_and_none_twice() -> None:
    for rows in (50, 5_000, 1_000_000):
        tried = candidates(rows, 100, CURRENT)
        assert [one.role for one in tried[:2]] == [LIVE, GUIDE]
        builds = [(one.index_type, one.metric, tuple(sorted(one.build(rows).items()))) for one in tried]
        assert len(set(builds)) == len(builds)
        assert {one.index_type for one in tried} >= {"HNSW", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "SCANN", "HNSW_SQ"}
        assert ("FLAT" in {one.index_type for one in tried}) is (rows < 50_000)
    assert dict(CURRENT.search) == {"ef": 64}  # the profile's


def test_lists_grow_with_the_rows_and_each_has_enough_to_be_trained() -> None:
    lists = Candidate("x", "IVF_FLAT", "COSINE", (), 4.0)
    assert [lists.build(rows)["nlist"] for rows in (10, 1_000, 100_000, 1_000_000)] == [1, 25, 1024, 4096]
    ladder = lists.ladder(100_000, 10)
    assert (ladder[0], ladder[-1]) == (1, 1024)
    assert Candidate("x", "HNSW", "IP").ladder(1_000, 100)[0] == 128


def test_the_last_round_has_values_between_those_of_the_others() -> None:
    lists = Candidate("x", "IVF_FLAT", "COSINE", (), 1.0)
    coarse, fine = lists.ladder(20_000, 10), lists.ladder(20_000, 10, fine=True)
    assert set(coarse) < set(fine)
    assert 20 in fine
    assert fine == tuple(sorted(fine))


def test_an_odd_dimension_has_no_product_quantization() -> None:
    assert "IVF_PQ" not in {one.index_type for one in candidates(1000, 101, CURRENT)}


def test_memory_follows_the_type() -> None:
    sizes = {one.index_type: one.size_bytes(1_000, 384) for one in candidates(1_000, 384, CURRENT)}
    assert sizes["IVF_PQ"] < sizes["IVF_SQ8"] < sizes["HNSW_SQ"] < sizes["FLAT"] < sizes["HNSW"]
    assert Candidate("x", "HNSW", "IP", (("M", 16),)).size_bytes(20_000, 384) == 20_000 * (4 * 384 + 8 * 16 + 16)


@given(
    some.lists(some.integers(1, 4096), min_size=1, max_size=30, unique=True),
    some.integers(0, 31),
    some.integers(1, 4096),
)
def test_a_bisection_finds_the_least_value_that_reaches_the_floor(values: list[int], border: int, guess: int) -> None:
    ladder = sorted(values)
    measured: dict[int, float] = {}
    while (value := next_value(ladder, measured, 0.95, guess)) is not None:
        assert value not in measured
        measured[value] = 0.99 if ladder.index(value) >= border else 0.5
    wanted = ladder[border] if border < len(ladder) else None
    assert least_value(ladder, measured, 0.95) == wanted
    assert len(measured) <= 2 * math.log2(len(ladder) + 1) + 3


def test_a_good_guess_needs_two_measurements() -> None:
    ladder, measured = (10, 16, 24, 32, 48, 64), {}
    while (value := next_value(ladder, measured, 0.95, 32)) is not None:
        measured[value] = 0.96 if value >= 32 else 0.9
    assert measured == {32: 0.96, 24: 0.9}


def test_rounds_grow_fourfold_to_all_rows() -> None:
    assert rungs(500) == (500,)
    assert rungs(8_000) == (2_000, 8_000)
    assert rungs(20_000) == (2_500, 20_000)
    assert rungs(100_000) == (6_250, 25_000, 100_000)


def test_the_best_of_each_family_and_both_baselines_go_on() -> None:
    entered = list(candidates(100_000, 100, CURRENT))
    points = [point(one.name, 0.97, 1000.0 - at) for at, one in enumerate(entered)]
    kept = survivors(entered, points, 0.95)
    assert {LIVE, GUIDE} <= {one.role for one in kept}
    assert {one.is_graph for one in kept} == {True, False}
    assert len(kept) < len(entered) / 2
    nothing_good = survivors(entered, [point(one.name, 0.5, 1.0) for one in entered], 0.95)
    assert {one.role for one in nothing_good} == {LIVE, GUIDE}


def test_the_frontier_leaves_out_what_another_beats() -> None:
    best, small, worse = option("best", 0.98, 100), option("small", 0.96, 90, size=10), option("worse", 0.97, 95)
    assert frontier([worse, small, best]) == (best, small)


def test_the_fastest_that_meets_all_targets_is_picked_and_each_other_gets_a_reason() -> None:
    live = option("current", 0.99, 100, role=LIVE, search=(("ef", 32),))
    others = [
        option("fast", 0.97, 200),
        option("same, larger", 0.97, 199, size=300),
        option("inexact", 0.80, 400),
        option("slow tail", 0.99, 300, p95_ms=50.0),
        option("huge", 0.99, 350, size=10_000),
        option("other metric", 0.99, 500, metric="IP"),
    ]
    found = conclude([live, *others], Targets(10, 0.95, 20.0, 1_000), "COSINE")
    assert found.pick is others[0]
    assert not found.keep
    assert found.reason == "+100% queries/s and 100% of the memory of the current setting"
    assert {name: why.split()[0] for name, why in found.lost.items()} == {
        "current": "2.0",
        "same, larger": "as",
        "inexact": "recall",
        "slow tail": "p95",
        "huge": "takes",
        "other metric": "compares",
    }


def test_what_you_have_is_kept_when_nothing_is_clearly_better() -> None:
    live = option("current", 0.99, 100, role=LIVE, search=(("ef", 32),))
    found = conclude([live, option("a little", 0.99, 105)], Targets(), "COSINE")
    assert (found.pick, found.keep) == (live, True)
    assert found.reason == "no gain: a little is 5% faster, less than 10%"
    smaller = conclude([live, option("smaller", 0.99, 99, size=50)], Targets(), "COSINE")
    assert not smaller.keep


def test_nothing_is_picked_that_misses_the_targets() -> None:
    found = conclude([option("a", 0.9, 100)], Targets(), "COSINE")
    assert (found.pick, found.lost) == (None, {"a": "recall 0.900 is below 0.95"})


def test_a_ledger_continues_the_same_search_only(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    ledger = open_ledger(path, SUBJECT, False)
    ledger.note(Built("a", 1000, 2.0))
    ledger.note(Built("b", 1000, trouble="abandoned"))
    ledger.record(point("a", 0.9, 10.0))
    again = open_ledger(path, SUBJECT, False)
    assert again.continued
    assert (again.recalls("a", 1000), [one.candidate for one in again.built]) == ({32: 0.9}, ["a"])
    assert pick_of(path) is None
    for other in (open_ledger(path, SUBJECT, True), open_ledger(path, Subject("c_g2", 1, 10, 0, "abc", "same"), False)):
        assert not other.points
    again.close(Pick("c_g1", AppliedIndex("FLAT", "IP"), None, False, False, "no", 0.95))
    closed = pick_of(path)
    assert closed is not None
    assert closed.reason == "no"
    path.write_text("{")
    assert pick_of(path) is None


def test_two_searches_of_a_collection_exclude_each_other(tmp_path: Path) -> None:
    with locked(tmp_path / "l.json"), pytest.raises(LockedError), locked(tmp_path / "l.json"):
        pass


def test_times_and_sizes_of_options() -> None:
    assert (milliseconds("--max-p95", "20ms"), seconds("--budget", "1.5h")) == (20.0, 5400.0)
    assert size_bytes("--max-memory", "4Gi") == 4 * 2**30
    for wrong in ("20", "0s", "-1s", "x"):
        with pytest.raises(UsageError):
            seconds("--budget", wrong)
    for wrong in ("-4Gi", "0", "much"):
        with pytest.raises(UsageError):
            size_bytes("--max-memory", wrong)
