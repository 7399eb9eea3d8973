"""What `bench` is made of before and after the load: questions, the target, the service's own metrics, the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from lightragctl.bench import corpus, stages
from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.result import LoadReport, Moment
from lightragctl.bench.run import run
from lightragctl.bench.targets import Target
from lightragctl.cli.asked import questions_in
from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Event, Notify

if TYPE_CHECKING:
    from lightragctl.cli.options import Session

_OURS = ("retrieve", "query")
_METRICS_S = 5.0


@dataclass(frozen=True)
class Measured:
    """A run, and what lightrag-api says of it: mean milliseconds by stage, sizes of batches, shares of cache hits."""

    report: LoadReport
    stages_ms: Mapping[str, float]
    batch_sizes: Mapping[str, float]
    cache_hits: Mapping[str, float]


def asked(file: Path | None, scenario: str) -> list[str]:
    """The questions.

    Raises:
        UsageError: the file cannot be read, or holds none.
    """
    if file is None and scenario == "topics":
        return [f"{topic}领域最新进展" for topic in corpus.topics().values()]
    if file is None:
        return [question.text for question in corpus.questions()]
    return questions_in(file)


def target(session: "Session", kind: str, url: str | None, given: Mapping[str, Any]) -> Target:
    """What is asked; the release's own lightrag-api, with its key, unless a URL is given."""
    wanted = {"embeddings": ("model",), "chat": ("model",), "lightrag": ()}.get(kind, ("top_k",))
    fields = {name: given[name] for name in wanted if given[name] is not None}
    if kind == "lightrag":
        fields = {"mode": "naive", "chunk_top_k": given["top_k"]}
    if url is not None:
        return Target(url, kind, fields)
    if kind not in _OURS:
        raise UsageError(f"--target {kind} needs an address", "say --url http://HOST:PORT")
    return Target(session.runtime.endpoint("lightrag-api"), kind, fields, session.runtime.api_key())


def most_connections(session: "Session", url: str | None) -> int:
    """How many requests of an open loop may be under way; the next wait, and are charged for it."""
    from lightragctl.kube.streams import STREAMS

    is_tunnelled = url is None and session.loaded.profile.runtime is Runtime.KUBERNETES
    return STREAMS if is_tunnelled else 512


def measured(plan: LoadPlan, notify: Notify) -> Measured:
    """Put the load on; Ctrl-C ends it early with what there is."""
    before = _metrics(plan.target)
    notify(Event(f"{plan.target.kind} at {plan.target.url}: connecting", passing=True))
    report = run(plan, lambda moment: notify(Event(_words(moment), passing=True)))
    after = _metrics(plan.target)
    looks = (before, after)
    return Measured(report, stages.times_ms(*looks), stages.batch_sizes(*looks), stages.cache_hits(*looks))


def save(measured: Measured, file: Path) -> None:
    """Write the report; the bodies of answers stay out.

    Raises:
        LightragctlError: the file cannot be written.
    """
    report = msgspec.to_builtins(msgspec.structs.replace(measured.report, bodies={}))
    server = {
        "stages_ms": dict(measured.stages_ms),
        "batch_sizes": dict(measured.batch_sizes),
        "cache_hits": dict(measured.cache_hits),
    }
    document = {**report, **server}
    try:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    except OSError as error:
        raise LightragctlError(f"cannot write {file}: {error.strerror}", "give another --save FILE") from error


def _words(moment: Moment) -> str:
    rate = f"{moment.answered_per_s:.0f}/s, p50 {moment.p50_ms:.1f} ms, p99 {moment.p99_ms:.1f} ms"
    bad = moment.answered - moment.ok
    return f"{moment.phase}: {moment.elapsed_s:.0f} s, {rate}, {moment.under_way} under way, {bad} failed"


def _metrics(asked: Target) -> stages.Metrics:
    """The service's metrics; none where it has none. Behind several replicas they are of one of them."""
    if asked.kind not in _OURS:
        return {}
    try:
        answer = httpx.get(f"{asked.url.rstrip('/')}/metrics", timeout=_METRICS_S, trust_env=False)
    except httpx.HTTPError:
        return {}
    return stages.parse(answer.text) if answer.is_success else {}
