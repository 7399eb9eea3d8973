"""Options of the bench commands: what shape they make, and which mean nothing together."""

from pathlib import Path

import pytest

from lightragctl.bench.schedule import Closed, Constant, Poisson, Ramp, Replay, Shape
from lightragctl.cli.bench.load_shape import shape, steady
from lightragctl.cli.bench.options import LoadOptions, ShapeOptions, check_sides
from lightragctl.cli.options import GlobalOptions
from lightragctl.core.errors import UsageError


@pytest.mark.parametrize(
    ("given", "is_topics", "wanted"),
    [
        (ShapeOptions(), False, Closed(20)),
        (ShapeOptions(duration=5, concurrency=2), False, Closed(5)),
        (ShapeOptions(rate=50), False, Poisson(50, 20)),
        (ShapeOptions(rate=50, arrivals="constant", duration=3), False, Constant(50, 3)),
        (ShapeOptions(rate=50, arrivals="ramp"), False, Ramp(0, 50, 20)),
        (ShapeOptions(arrivals="replay", speed=10), False, Replay((1.0, 2.0), 10)),
        (ShapeOptions(), True, Constant(10, 10)),
        (ShapeOptions(duration=30), True, Constant(10, 30)),
        (ShapeOptions(rate=50), True, Constant(50, 20)),
        (ShapeOptions(rate=50, arrivals="poisson", duration=2), True, Poisson(50, 2)),
        (ShapeOptions(concurrency=4), True, Closed(20)),
    ],
)
def test_options_make_a_shape(given: ShapeOptions, is_topics: bool, wanted: Shape) -> None:
    assert shape(given, is_topics, lambda: (1.0, 2.0)) == wanted


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (ShapeOptions(arrivals="ramp"), "--arrivals ramp needs a rate"),
        (ShapeOptions(arrivals="constant"), "--arrivals constant needs a rate"),
        (ShapeOptions(speed=2), "--speed needs a replay"),
        (ShapeOptions(arrivals="replay", rate=5), "--rate and --arrivals replay are mutually exclusive"),
        (ShapeOptions(arrivals="replay", duration=5), "--duration and --arrivals replay are mutually exclusive"),
        (ShapeOptions(arrivals="replay"), "only recorded questions"),
        (ShapeOptions(rate=5, concurrency=5), "mutually exclusive"),
    ],
)
def test_incompatible_options_are_refused(given: ShapeOptions, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        shape(given, False, tuple)
    assert caught.value.hint


def test_a_comparison_is_closed_or_open() -> None:
    assert steady(None, 4, 5) == Closed(5)
    assert steady(10, None, 5) == Poisson(10, 5)
    with pytest.raises(UsageError, match="mutually exclusive"):
        steady(10, 4, 5)


FILE = Path("key")


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (LoadOptions(url="http://x"), "--url does not apply"),
        (LoadOptions(qrels=FILE, questions=FILE), "--qrels does not apply"),
        (LoadOptions(recall=True), "--recall and --no-recall does not apply"),
        (LoadOptions(api_key_file=FILE), "--api-key-file does not apply"),
    ],
)
def test_a_comparison_refuses_what_it_does_not_use(load: LoadOptions, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_sides(load, ("local", "mine.yaml"), GlobalOptions())


@pytest.mark.parametrize(
    ("sides", "options", "told"),
    [
        (("local", "http://b"), GlobalOptions(name="mine"), "--name does not apply to 'local'"),
        (("local", "mine.yaml"), GlobalOptions(name="mine"), "--name does not apply to 'local'"),
        (("local", "mine.yaml"), GlobalOptions(profile="dev"), "--profile does not apply"),
    ],
)
def test_a_comparison_refuses_a_release_that_it_would_not_ask(
    sides: tuple[str, str], options: GlobalOptions, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        check_sides(LoadOptions(), sides, options)


def test_the_release_whose_questions_two_addresses_are_asked_can_be_named() -> None:
    check_sides(LoadOptions(scenario="recordings"), ("http://a", "http://b"), GlobalOptions(name="x", profile="dev"))
    check_sides(LoadOptions(api_key_file=FILE), ("local", "https://x"), GlobalOptions(profile="dev"))
