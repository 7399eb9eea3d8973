"""Table views of `bench`."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, table

_FIGURES = ("p50", "p90", "p99", "p99.9", "max")


def _bench_run(data: Data) -> Iterator[RenderableType]:
    from lightragctl.bench.report import summary_rows

    yield Text(summary_rows.headline(data), style="bold")
    yield Text(summary_rows.outcomes(data))
    yield Text(f"{data['good_per_s']:.1f} good answers per second")
    shown = {"latency, ms": data["latency"], "first token, ms": data["first_token"]}
    rows = [
        [name, *(_text(summary_rows.shown_ms(times, one)) for one in _FIGURES)]
        for name, times in shown.items()
        if times
    ]
    yield table(["", *_FIGURES], rows)
    yield from map(Text, summary_rows.bad_answers(data))
    yield from map(Text, data["verdict"]["notes"])
    if data["stages_ms"]:
        of = "" if data["replicas"] == 1 else f" of {data['replicas']} replicas"
        yield Text(f"time inside lightrag-api, mean{of}", style="bold")
        yield table(["STAGE", "MEAN MS"], [[name, f"{value:.2f}"] for name, value in data["stages_ms"].items()])
        sizes = ", ".join(f"{size:.1f} to {stage}" for stage, size in data["batch_sizes"].items())
        yield Text(f"mean batch size: {sizes}")
    yield from (Text(note, style="yellow") for note in data["replica_notes"])
    yield from _quality(data["quality"])
    for cache, share in data["cache_hits"].items():
        yield Text(f"{cache} cache hit ratio: {share:.1%}")


def _text(figure_ms: float | None) -> str:
    return "-" if figure_ms is None else f"{figure_ms:.1f}"


_QUALITY = (("recall", "recall"), ("ndcg", "nDCG"), ("relevant_recall", "relevant"), ("mrr", "MRR"), ("map", "MAP"))


def _quality(quality: Data | None) -> Iterator[RenderableType]:
    if quality is None:
        return
    figures = [(words, quality[name]) for name, words in _QUALITY if quality[name]]
    if figures:
        yield Text(f"answer quality at {quality['k']} passages", style="bold")
        rows = [
            [words, f"{one['mean']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", str(one["questions"])]
            for words, one in figures
        ]
        yield table(["METRIC", "MEAN", "95 % CI", "QUESTIONS"], rows)
    yield from map(Text, quality["notes"])


def _bench_saturate(data: Data) -> Iterator[RenderableType]:
    from lightragctl.bench.report import saturations

    yield Text(saturations.headline(data), style="bold")
    rows = [[Text(text, style=_STEP_STYLE.get(text, "")) for text in row] for row in saturations.rows(data)]
    yield table(saturations.HEADINGS, rows)
    if outcome := saturations.outcome(data):
        yield Text(outcome)


_STEP_STYLE = {"passed": "green", "failed": "red"}


def _bench_compare(data: Data) -> Iterator[RenderableType]:
    from lightragctl.bench.report import comparisons

    yield Text(f"A {data['a']}\nB {data['b']}\n{len(data['rounds'])} rounds", style="bold")
    yield table(comparisons.headings(data), comparisons.rows(data))
    yield from (Text(f"note: {note}") for note in (*data["unlike"], *data["doubts"]))


def _bench_report(data: Data) -> Iterator[RenderableType]:
    """Runs side by side; then all other reports as their command showed them, with their errors."""
    if data["runs"]:
        yield from _runs(data["runs"])
    for plural, view in (("saturations", _bench_saturate), ("comparisons", _bench_compare)):
        for one in data[plural]:
            yield Text(one["file"], style="bold")
            yield from view(one)
            for error in one["errors"]:
                hint = f"; {error['hint']}" if error["hint"] else ""
                yield Text(f"{one['file']}: {error['message']}{hint}", style="yellow")
    yield from (Text(f"wrote {path}") for path in data["written"])


def _runs(runs: Sequence[Data]) -> Iterator[RenderableType]:
    from lightragctl.bench.report import summary_rows

    for run in runs:
        yield Text(run["file"], style="bold").append(f"  {summary_rows.headline(run)}", style="not bold")
    names = [run["file"] for run in runs]
    yield table(["", *names], [[name, *texts] for name, texts in summary_rows.rows(runs)])
    for run in runs:
        for reason in run["verdict"]["reasons"]:
            yield Text(f"{run['file']}: not valid: {reason}", style="yellow")
        for text, kept in run["thresholds"].items():
            yield Text(f"{run['file']}: {text}: {'met' if kept else 'not met'}", style="" if kept else "red")


VIEWS: Mapping[str, View] = {
    "bench run": _bench_run,
    "bench saturate": _bench_saturate,
    "bench compare": _bench_compare,
    "bench report": _bench_report,
}
