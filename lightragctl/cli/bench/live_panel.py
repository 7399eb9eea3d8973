"""The live display of a load test: phase, rate over the last half minute, latency, open requests. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.result import LiveSample
from lightragctl.bench.schedule import duration_s
from lightragctl.bench.worker_protocol import LoadPhase
from lightragctl.core.result import Event
from lightragctl.core.visible import visible
from lightragctl.release.benchmark import BenchmarkEvent

REMEMBERED = 60
"""Half seconds; a line of this width fits on every terminal."""
_LEVELS = "▁▂▃▄▅▆▇█"
_NAME_WIDTH = 11
_BAR_WIDTH = 30


class LoadPanel:
    """Draws a run in progress; keeps the rates of the last half seconds."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=REMEMBERED)
        self._plan: LoadPlan | None = None
        self._length_s: Mapping[LoadPhase, float] = {}

    def picture(self, event: Event) -> RenderableType:
        """The display after this event; its text alone when it has no figures."""
        if not isinstance(event, BenchmarkEvent) or event.live is None:
            return _line(event.message)
        self._know(event.plan)
        sample = event.live
        self._rates.append(sample.answered_per_s)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=_NAME_WIDTH, style="dim")
        table.add_column(overflow="ellipsis")  # without no_wrap: rich narrows such columns first
        table.add_row(str(sample.phase), self._timeline(sample))
        table.add_row("answers/s", _line(f"{sample.answered_per_s:,.0f}", "bold"))
        table.add_row("", _Rates(list(self._rates)))
        table.add_row("latency", _latency(sample))
        table.add_row("requests", _requests(sample))
        table.add_row("open", _open(sample))
        # The cursor rests in an empty line: a `^C` after a full one would go over into the next, which stays then.
        return Group(*self._head(), table, Text(""))

    def _know(self, plan: LoadPlan | None) -> None:
        """Compute the length of each phase, once, as a replay has many instants."""
        if plan is not None and plan is not self._plan:
            self._plan = plan
            self._length_s = {LoadPhase.WARM_UP: plan.warm_up.most_s, LoadPhase.MEASURE: duration_s(plan.shape)}

    def _head(self) -> list[Text]:
        target = self._plan.target if self._plan is not None else None
        return [_line(f"{target.kind} at {target.shown}", "bold")] if target is not None else []

    def _timeline(self, sample: LiveSample) -> RenderableType:
        length_s = self._length_s.get(sample.phase)
        if length_s is None:
            return _line(f"{sample.elapsed_s:.0f} s")
        left_s = length_s - sample.elapsed_s
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=length_s, completed=min(sample.elapsed_s, length_s), width=_BAR_WIDTH)
        line.add_row(_line(_left(sample, left_s)), bar)
        return line


@dataclass(frozen=True)
class _Rates:
    """The newest rates that fit."""

    rates: Sequence[float]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(sparkline(self.rates[-options.max_width :]), style="cyan")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, len(self.rates)))


def sparkline(values: Sequence[float]) -> str:
    """A sparkline of block characters, scaled from 0 to the highest value."""
    most = max(values, default=0.0)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[round(value / most * steps) if most else 0] for value in values)


def _line(text: str, style: str = "") -> Text:
    return Text(visible(text), style, no_wrap=True, overflow="ellipsis")


def _left(sample: LiveSample, left_s: float) -> str:
    if left_s <= 0:
        return "waiting for the last answers"
    at_most = " at most" if sample.phase is LoadPhase.WARM_UP else ""
    return f"{left_s:.0f} s left{at_most}"


def _latency(sample: LiveSample) -> Text:
    if not sample.answered_per_s:
        return _line("no answer in this half second", "yellow")
    return _line(f"p50 {sample.p50_ms:.1f} ms, p99 {sample.p99_ms:.1f} ms")


def _requests(sample: LiveSample) -> Text:
    failed = sample.answered - sample.ok
    text = _line(f"{sample.answered:,} answered, ")
    return text.append(f"{failed:,} failed", style="red" if failed else "")


def _open(sample: LiveSample) -> Text:
    text = _line(f"{sample.under_way} in flight, ")
    return text.append(f"{sample.waiting} queued", style="yellow" if sample.waiting else "")
