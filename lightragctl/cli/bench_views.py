"""What a person reads of each `bench` command's payload."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from lightragctl.cli.tables import Data, View, table

_FIGURES = (("p50", "p50_ms"), ("p90", "p90_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms"), ("max", "max_ms"))


def _bench_run(data: Data) -> Iterator[RenderableType]:
    from lightragctl.bench.report import figures

    yield Text(figures.headline(data), style="bold")
    yield Text(figures.outcomes(data))
    yield Text(f"{data['good_per_s']:.1f} good answers a second")
    shown = {"latency, ms": data["latency"], "first token, ms": data["first_token"]}
    rows = [[name, *(f"{times[key]:.1f}" for _, key in _FIGURES)] for name, times in shown.items() if times]
    yield table(["", *(name for name, _ in _FIGURES)], rows)
    if data["stages_ms"]:
        of = "" if data["replicas"] == 1 else f" of {data['replicas']} replicas"
        yield Text(f"inside lightrag-api, on average{of}", style="bold")
        yield table(["STAGE", "MEAN MS"], [[name, f"{value:.2f}"] for name, value in data["stages_ms"].items()])
        sizes = ", ".join(f"{size:.1f} to {stage}" for stage, size in data["batch_sizes"].items())
        yield Text(f"items in a batch: {sizes}")
    yield from (Text(note, style="yellow") for note in data["replica_notes"])
    yield from _quality(data["quality"])
    for cache, share in data["cache_hits"].items():
        yield Text(f"{share:.1%} of the looks into the {cache} cache found an answer")


_QUALITY = (("recall", "recall"), ("ndcg", "nDCG"), ("relevant_recall", "relevant"), ("mrr", "MRR"), ("map", "MAP"))


def _quality(quality: Data | None) -> Iterator[RenderableType]:
    if quality is None:
        return
    figures = [(words, quality[name]) for name, words in _QUALITY if quality[name]]
    if figures:
        yield Text(f"how good the answers were, of {quality['k']} passages each", style="bold")
        rows = [
            [words, f"{one['mean']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}", str(one["questions"])]
            for words, one in figures
        ]
        yield table(["FIGURE", "MEAN", "95 %", "QUESTIONS"], rows)
    yield from map(Text, quality["notes"])


def _bench_saturate(data: Data) -> Iterator[RenderableType]:
    yield Text(f"{data['kind']} at {data['url']}, {data['slo']}", style="bold")
    rows: list[list[RenderableType]] = [
        [
            f"{step['rate_qps']:.1f}",
            Text("held", style="green") if step["held"] else Text("failed", style="red"),
            f"{step['p99_ms']:.1f}",
            f"{step['good_per_s']:.1f}",
            ", ".join(step["broken"]) + ("" if step["held"] or step["believed"] else " (generator late or busy)"),
        ]
        for step in data["steps"]
    ]
    yield table(["RATE/S", "", "P99 MS", "GOOD/S", ""], rows)
    if data["holds_qps"] is not None:
        to = f"and fails at {data['fails_qps']:.1f}/s" if data["fails_qps"] else "and no rate failed"
        yield Text(f"it holds {data['holds_qps']:.1f} requests a second, {to}")


def _bench_compare(data: Data) -> Iterator[RenderableType]:
    yield Text(f"A {data['a']}\nB {data['b']}\n{len(data['rounds'])} rounds", style="bold")
    rows = [
        [
            one["figure"],
            f"{one['ratio']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
            f"{one['p_value']:.3f}",
            one["finding"] + (f": {one['rounds_needed']} rounds" if one["rounds_needed"] else ""),
        ]
        for one in data["figures"]
    ]
    yield table(["FIGURE", "B / A", "95 %", "P", f"B IS (MARGIN {data['margin']:.0%})"], rows)
    yield from (Text(f"note: {doubt}") for doubt in data["doubts"])


def _bench_report(data: Data) -> Iterator[RenderableType]:
    from lightragctl.bench.report import figures

    runs = data["runs"]
    for run in runs:
        yield Text(run["file"], style="bold").append(f"  {figures.headline(run)}", style="not bold")
    names = [run["file"] for run in runs]
    yield table(["", *names], [[name, *texts] for name, texts in figures.rows(runs)])
    for run in runs:
        for reason in run["verdict"]["reasons"]:
            yield Text(f"{run['file']}: do not believe it: {reason}", style="yellow")
        for text, kept in run["thresholds"].items():
            yield Text(f"{run['file']}: {text}: {'kept' if kept else 'not kept'}", style="" if kept else "red")
    yield from (Text(f"wrote {path}") for path in data["written"])


VIEWS: Mapping[str, View] = {
    "bench run": _bench_run,
    "bench saturate": _bench_saturate,
    "bench compare": _bench_compare,
    "bench report": _bench_report,
}
