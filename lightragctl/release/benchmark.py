"""Load tests of a release: questions, target, answer quality and server metrics; `bench` generates the load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lightragctl.bench import quality, questions
from lightragctl.bench.annotated_run import AnnotatedRun, Annotations
from lightragctl.bench.plan import LoadPlan
from lightragctl.bench.quality import FoundHits
from lightragctl.bench.questions import QuestionSet
from lightragctl.bench.result import LiveSample, LoadReport, Quality
from lightragctl.bench.run import run
from lightragctl.bench.schedule import Shape
from lightragctl.bench.targets import Target, kind_named
from lightragctl.bench.thresholds import QUALITY, Threshold
from lightragctl.client.scrape import MetricsScraper, Replicas
from lightragctl.client.server_metrics import MetricsSample, MetricsSamples, metrics_between
from lightragctl.core.errors import LightragctlError, UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.result import Event, Notify
from lightragctl.core.urls import shown
from lightragctl.kube.streams import STREAMS
from lightragctl.quality.exact import Neighbours, exact_neighbours
from lightragctl.release.golden import plain
from lightragctl.release.load_spec import API_KEY, LoadSpec, is_url
from lightragctl.release.release import Release

if TYPE_CHECKING:
    from lightragctl.vectors.milvus import MilvusStore

_OURS = ("retrieve", "query")
_COMPONENTS = {"retrieve": "lightrag-api", "query": "lightrag-api", "lightrag": "lightrag-server"}
"""The component of each target."""
_RECORDED_MOST = 100_000
_SAMPLE_ROWS = 1000
"""Queries of `--scenario collection`: more than the query cache holds, and one page of a scan."""
RECALL_ROWS = 100_000
"""Recall of a larger collection is measured only on request: reading it takes minutes."""


@dataclass(frozen=True)
class BenchmarkEvent(Event):
    """Progress of a load test: a line of text, and the sample behind it; `plan` when known."""

    live: LiveSample | None = None
    plan: LoadPlan | None = None


@dataclass(frozen=True)
class BenchmarkSource:
    """The questions and the evaluation of a load test, read from the release on first use."""

    release: Release
    load: LoadSpec
    notify: Notify
    lead: "BenchmarkSource | None" = None
    """Another source, whose questions are used here too."""
    _known: dict[int, Neighbours] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError for incompatible options."""
        self.load.check()

    @cached_property
    def asked(self) -> QuestionSet:
        """The questions.

        Raises:
            UsageError: a file cannot be read, or there are none.
        """
        if self.lead is not None:
            return self.lead.asked
        if self.load.questions is not None:
            found = questions.read(self.load.questions, self.load.qrels)
        elif self.load.qrels is not None:
            raise UsageError("--qrels needs --questions", "set --questions FILE too")
        else:
            found = _SCENARIOS[self.load.scenario or "test-data"](self)
        return questions.distinct(found, self.load.distinct) if self.load.distinct else found

    @cached_property
    def store(self) -> "MilvusStore":
        """The release's Milvus."""
        from lightragctl.vectors.milvus import MilvusStore

        return self.release.closing(MilvusStore(self.release.runtime.endpoint("vector-engine")))

    @property
    def collection(self) -> str:
        """The collection of the profile's workspace."""
        from lightragctl.vectors.control import chunks_alias

        profile = self.release.loaded.profile
        return chunks_alias(profile.workspace, profile.models.embedding)

    def vectors(self, texts: list[str]) -> Any:
        """Embeddings of questions by the release's model, `(n, dimension) float32`."""
        from lightragctl.vectors.embedding import QuestionEmbedder

        embed = QuestionEmbedder(
            self.release.runtime.endpoint("model-gateway"), self.release.loaded.profile.models.embedding
        )
        return embed(texts, lambda done: self.notify(Event(f"embedding questions: {done}/{len(texts)}", passing=True)))

    def target(self) -> Target:
        """The target: the release's own service with its key, unless a URL is given.

        Raises:
            UsageError: the target has no address.
        """
        load = self.load
        if load.kind == "milvus":
            return Target(load.url or self.release.runtime.endpoint("vector-engine"), "milvus")
        if load.url is not None:
            return Target(load.url, load.kind, _fields(load), given_key(load.api_key_file, self.release.environ))
        component = _COMPONENTS.get(load.kind)
        if component is None:
            raise UsageError(f"--target {load.kind} needs a URL", "set --url http://HOST:PORT")
        runtime = self.release.runtime
        return Target(runtime.spread(component), load.kind, _fields(load), runtime.api_key(component))

    def replicas(self) -> Mapping[str, str]:
        """The addresses to scrape metrics from: the replicas of lightrag-api, or the URL; empty for other targets.

        Raises:
            NotRunningError: no replica is ready.
        """
        if self.load.kind not in _OURS:
            return {}
        if self.load.url is not None:
            return {shown(self.load.url): self.load.url}
        return self.release.runtime.endpoints("lightrag-api")

    def plan(self, shape: Shape, connections: int) -> LoadPlan:
        """The plan of the load test."""
        load, asked = self.load, self.asked
        requests = _searches(self) if load.kind == "milvus" else ()
        return LoadPlan(
            self.target(),
            asked.texts,
            shape,
            connections,
            load.workers,
            timeout_s=load.timeout,
            spin=load.spin,
            requests=requests,
            distinct=bool(load.distinct),
        )

    def check_quality(self, wanted: Sequence[Threshold]) -> None:
        """Check before the load test that the quality metrics of the thresholds can be measured.

        Raises:
            UsageError: one cannot.
        """
        figures = {one.figure for one in wanted if one.figure in QUALITY}
        if figures and not kind_named(self.load.kind).finds:
            raise UsageError(
                f"answers of --target {self.load.kind} contain no passages to evaluate", "use --target query"
            )
        if "recall" in figures and (why_not := self._no_recall()):
            raise UsageError(f"recall cannot be measured: {why_not}", "remove it from the thresholds")
        if figures - {"recall"} and not self.asked.qrels:
            names = ", ".join(sorted(figures - {"recall"}))
            message = f"{names} cannot be measured: the questions have no relevance judgements"
            raise UsageError(message, "use --questions FILE --qrels FILE, or --scenario test-data")

    def judged_for(self, report: LoadReport, wanted: Sequence[Threshold]) -> LoadReport:
        """The report with the quality metrics of the thresholds.

        Raises:
            LightragctlError: there are good answers, but a metric could not be measured.
        """
        figures = [one.figure for one in wanted if one.figure in QUALITY]
        if not figures or not report.good.count:
            return report
        judged = self._judged(report)
        notes = judged.quality.notes if judged.quality is not None else ()
        if notes and any(getattr(judged.quality, name.replace("-", "_")) is None for name in figures):
            raise LightragctlError("; ".join(notes))
        return judged

    def judged(self, report: LoadReport) -> LoadReport:
        """The report with its answer quality; metrics that cannot be measured are noted.

        Ctrl-C ends the evaluation; the report is then marked as interrupted.
        """
        try:
            return self._judged(report)
        except KeyboardInterrupt:
            noted = Quality(self.load.k, notes=["the quality was not measured: interrupted"])
            return msgspec.structs.replace(report, quality=noted, interrupted=True)

    def _judged(self, report: LoadReport) -> LoadReport:
        found = quality.answers(report)
        if not kind_named(report.kind).finds:
            return report
        figures: dict[str, Any] = dict(quality.relevance(found, self.asked.questions, self.asked.qrels, self.load.k))
        notes = _empty(found)
        if figures and not figures["mrr"].mean:
            figures = {}
            notes.append("no answer contains a judged document: are the documents of the questions loaded?")
        try:
            if why_not := self._no_recall():
                notes.append(f"recall was not measured: {why_not}")
            else:
                figures["recall"] = quality.recall_figure(found, self._nearest(found), self.load.k)
        except LightragctlError as error:
            notes.append(f"recall was not measured: {error}")
        return msgspec.structs.replace(report, quality=Quality(self.load.k, notes=notes, **figures))

    def _no_recall(self) -> str:
        """Why recall cannot be measured; empty when it can."""
        if self.load.recall is False:
            return "--no-recall"
        if self.load.url is not None:
            return "the passages of a service at --url are not known"
        rows = self.store.row_count(self.collection)
        if rows > RECALL_ROWS and not self.load.recall:
            return f"the collection has {rows} rows; use --recall to compare with all of them"
        return "" if rows else "the collection is empty"

    def _nearest(self, found: FoundHits) -> Mapping[int, Neighbours]:
        """Exact neighbours of a sample of the questions, by index; the rows are read once."""
        from lightragctl.vectors.blocks import vector_blocks

        if self._known.keys().isdisjoint(found) and (places := quality.sampled(found)):
            profile = self.release.loaded.profile
            vectors = self.vectors([self.asked.questions[at].text for at in places])
            self.notify(Event("comparing with exact search", passing=True))
            blocks = vector_blocks(self.store, self.collection, profile.models.embedding.dimension)
            exact = exact_neighbours(vectors, blocks, self.load.k, profile.index.metric)
            self._known.update(zip(places, exact, strict=True))
        return self._known


def _empty(found: FoundHits) -> list[str]:
    """A note when answers contained no passage."""
    count = sum(not given for given in found.values())
    return [f"{count} of {len(found)} answers contained no passage"] if count else []


def connections(release: Release, url: str | None) -> int:
    """The maximum number of in-flight requests of an open loop; further ones queue, and their latency counts."""
    is_tunnelled = url is None and release.loaded.profile.runtime is Runtime.KUBERNETES
    return STREAMS if is_tunnelled else 512


def measured(plan: LoadPlan, replicas: Replicas, notify: Notify) -> AnnotatedRun:
    """Run the load test; Ctrl-C ends it early with what was measured."""
    notify(Event(f"{plan.target.kind} at {plan.target.shown}: connecting", passing=True))
    scraper, before = MetricsScraper(replicas), dict[str, MetricsSample | str]()
    report = run(plan, progress(notify, plan), on_measure_start=lambda: before.update(scraper.scrape()))
    after: MetricsSamples
    try:
        after = scraper.scrape()
    except KeyboardInterrupt:
        after = dict.fromkeys(before, "interrupted")
        report = msgspec.structs.replace(report, interrupted=True)
    metrics = metrics_between(before, after)
    return AnnotatedRun(report, Annotations(**asdict(metrics), ended_at=ended_at()))


def ended_at() -> str:
    """The present time, as in saved reports."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def progress(notify: Notify, plan: LoadPlan | None = None) -> Callable[[LiveSample], None]:
    """A callback that shows each sample."""
    return lambda live: notify(BenchmarkEvent(_words(live), passing=True, live=live, plan=plan))


def sides(release: Release, load: LoadSpec, names: Sequence[str], notify: Notify) -> list[BenchmarkSource]:
    """Both sides of a comparison, with the same questions: those of the first side that is a profile.

    Raises:
        UsageError: incompatible options.
    """
    sources: list[BenchmarkSource] = []
    for text in names:
        if is_url(text):
            sources.append(BenchmarkSource(release, replace(load, url=text), notify))
        else:
            sources.append(
                BenchmarkSource(release.of_profile(text), replace(load, url=None, api_key_file=None), notify)
            )
    lead = next((one for one in sources if one.load.url is None), sources[0])
    return [one if one is lead else replace(one, lead=lead) for one in sources]


def given_key(file: Path | None, environ: Mapping[str, str]) -> str | None:
    """The API key for another service; None when none was given."""
    if file is None:
        return environ.get(API_KEY) or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the API key from {file}: {error}", "use a file that contains only the key"
        ) from error
    if not key:
        raise UsageError(f"{file} contains no API key", "use a file that contains only the key")
    return key


def _test_data(_: BenchmarkSource) -> QuestionSet:
    return questions.test_data()


def _topics(_: BenchmarkSource) -> QuestionSet:
    return questions.topics()


def _of_collection(source: BenchmarkSource) -> QuestionSet:
    from lightragctl.vectors.model import Page

    rows = source.store.scan(source.collection, ["content"], Page(limit=_SAMPLE_ROWS))
    return questions.of_rows({row["id"]: row["content"] for row in rows})


def _of_recordings(source: BenchmarkSource) -> QuestionSet:
    found = source.release.recordings(_RECORDED_MOST)
    for one in found.missing:
        source.notify(Event(f"recorded questions are incomplete: {one}"))
    fitting = plain(found.questions, source.release.loaded.profile.workspace)
    return questions.of_recordings([questions.TimedQuestion(one.at, one.query) for one in fitting])


_SCENARIOS: Mapping[str, Callable[[BenchmarkSource], QuestionSet]] = {
    "test-data": _test_data,
    "topics": _topics,
    "collection": _of_collection,
    "recordings": _of_recordings,
}


def _searches(source: BenchmarkSource) -> Any:
    """The questions as Milvus search requests."""
    from lightragctl.bench.milvus import search_requests
    from lightragctl.vectors.model import index_spec

    index = index_spec(source.release.loaded.profile.index)
    return search_requests(source.collection, source.vectors(source.asked.texts), source.load.k, index)


def _fields(load: LoadSpec) -> dict[str, Any]:
    """The fields of every request body besides the question."""
    match load.kind:
        case "embeddings" | "chat":
            return {"model": load.model} if load.model else {}
        case "lightrag":
            return {"mode": "naive", "chunk_top_k": load.k}
        case _:
            return {"top_k": load.k}


def _words(live: LiveSample) -> str:
    rate = f"{live.answered_per_s:.0f}/s, p50 {live.p50_ms:.1f} ms, p99 {live.p99_ms:.1f} ms"
    bad = live.answered - live.ok
    return f"{live.phase}: {live.elapsed_s:.0f} s, {rate}, {live.under_way} in flight, {bad} failed"
