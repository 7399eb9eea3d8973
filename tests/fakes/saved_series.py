"""A search for the highest rate and a comparison, as they are saved, with all that a report shows of them."""

from lightragctl.bench.compare import ComparedFigure, CompareReport, ComparisonResult, Round
from lightragctl.bench.saturate import RateStep, Saturation


def _step(rate_qps: float, p99_ms: float, bound_ms: float | None, believed: bool = True) -> RateStep:
    held = bound_ms is not None and bound_ms < 50
    seen = {"p99<50ms": bound_ms, "errors<0.1%": 0.0}
    return RateStep(rate_qps, held, () if held else ("p99<50ms",), believed, rate_qps - 3, p99_ms, seen)


SEARCH = Saturation(
    url="http://127.0.0.1:8080",
    kind="retrieve",
    slo="p99<50ms,errors<0.1%",
    holds_qps=11329.4,
    fails_qps=11649.9,
    steps=[
        _step(15833.3, 70.7, 90.1),
        _step(12666.7, 83.4, None),
        _step(10133.3, 18.7, 20.2),
        _step(11329.4, 27.6, 31.0),
        _step(11649.9, 49.0, 55.5, believed=False),
        _step(11329.4, 22.1, 26.0),
        _step(11649.9, 116.9, 140.0, believed=False),
    ],
    limited="at the failing rate the generator was late or out of CPU: the service may sustain more",
    ended_at="2026-01-31T12:00:00Z",
)
COMPARED = CompareReport(
    a="http://127.0.0.1:8080",
    b="http://127.0.0.1:9080",
    margin=0.05,
    rounds=[
        Round(
            "AB"[number % 2],
            {"p50": 4.0 + number / 10, "mean": 4.2, "p90": 5.0, "p99": 9.0, "good": 250.0},
            {"p50": 4.4 + number / 10, "mean": 4.3, "p90": 5.2, "p99": 20.0, "good": 251.0},
        )
        for number in range(8)
    ],
    figures=[
        ComparedFigure("p50", 1.092, 1.08, 1.11, 0.008, ComparisonResult.WORSE),
        ComparedFigure("mean", 1.02, 1.01, 1.03, 0.07, ComparisonResult.SAME),
        ComparedFigure("p90", 1.04, 0.93, 1.16, 0.4, ComparisonResult.UNKNOWN, 40),
        ComparedFigure("p99", 0.8, 0.7, 0.9, 0.008, ComparisonResult.BETTER),
        ComparedFigure("good", 1.004, 0.99, 1.01, 0.2, ComparisonResult.SAME),
    ],
    doubts=["B: the generator was late"],
    ended_at="2026-01-31T12:00:00Z",
)
