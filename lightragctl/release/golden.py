"""The golden set of a release that is up: build it, read it, check the release against it. Does network I/O."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from lightragctl import __version__
from lightragctl.client.api import ApiError, RecordedQuestion
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import ApiSettings
from lightragctl.quality import golden, golden_store
from lightragctl.quality.golden import GoldenReport, GoldenSet
from lightragctl.quality.golden_store import BuildResult, CheckOptions, Embed, GoldenWorkspace, Searchers
from lightragctl.release.profiles import service_settings
from lightragctl.release.release import Release
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.embedding import QuestionEmbedder
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import FloatArray, index_spec

_CALL_S = 30.0
"""The deadline of one call to Milvus; a page of many long vectors takes seconds through a tunnel."""
_NEWEST = 10_000
"""Number of recorded questions that are read."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of `golden build`.

    Attributes:
        sample: number of stored passages.
        recorded: maximum number of recorded questions.
        questions: further questions.
        k: number of nearest passages to store per query.
        seed: of the sample.
    """

    sample: int
    recorded: int
    questions: Sequence[str]
    k: int
    seed: int


def place(release: Release, workspace: str | None) -> GoldenWorkspace:
    """The workspace, the profile's own unless another is named."""
    settings = _settings(release)
    return GoldenWorkspace(workspace or settings.workspace, settings.embedding, index_spec(settings.index))


def build(release: Release, place: GoldenWorkspace, options: BuildOptions, now_s: int, notify: Notify) -> BuildResult:
    """Build the workspace's golden set by exact search; `now_s` in unix seconds.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.build`.
    """
    with _store(release) as store:
        asked = recorded(release, place.workspace, notify) if options.recorded else []
        questions = golden.questions(asked, options.questions, options.recorded)
        plan = golden_store.BuildPlan(options.sample, questions, options.k, options.seed, now_s, __version__)
        return golden_store.build(store, place, plan, _embed(release), notify)


def known(release: Release, place: GoldenWorkspace) -> tuple[GoldenSet, list[int]]:
    """The current golden set, and the stored versions.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.load`.
    """
    with _store(release) as store:
        return golden_store.load(store, place), golden_store.versions(store, place)


def recorded_vectors(release: Release, place: GoldenWorkspace, most: int, notify: Notify) -> FloatArray:
    """The vectors of the newest recorded questions about the workspace, `(n, dimension)`, at most `most`.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: no replica answers, or the embedding model does not.
    """
    asked = golden.questions(recorded(release, place.workspace, notify), (), most)
    return _embed(release)(list(asked))


def check(release: Release, place: GoldenWorkspace, wanted: CheckOptions, notify: Notify) -> GoldenReport:
    """Check how well the release answers the queries of its golden set. Writes nothing.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.check`.
    """
    with _store(release) as store:
        return golden_store.check(store, place, _searchers(release, place.workspace), wanted, notify)


def _settings(release: Release) -> ApiSettings:
    """lightrag-api's settings in the profile: workspace, model and index."""
    return service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api")


@contextmanager
def _store(release: Release) -> Iterator[MilvusStore]:
    """The release's vector store, closed after the block."""
    opened = MilvusStore(release.runtime.endpoint("vector-engine"), _CALL_S)
    try:
        yield opened
    finally:
        opened.close()


def _searchers(release: Release, workspace: str) -> Searchers:
    """The index, and lightrag-api."""

    def retrieve(question: str, k: int) -> Sequence[str]:
        answer = release.api.retrieve(question, top_k=k, workspace=workspace, recorded=False)
        return [hit.id for hit in answer.hits]

    return Searchers(partial(search_all, release.runtime.endpoint("vector-engine")), retrieve)


def _embed(release: Release) -> Embed:
    """The release's embedding model, opened only when there are questions."""
    return lambda questions: QuestionEmbedder(release.runtime.endpoint("model-gateway"), _settings(release).embedding)(
        questions
    )


def embed(release: Release, questions: Sequence[str]) -> FloatArray:
    """Vectors of questions by the release's embedding model."""
    return _embed(release)(questions)


def plain(found: Sequence[RecordedQuestion], workspace: str) -> list[RecordedQuestion]:
    """The questions that can be repeated: for passages of the workspace, without a filter."""
    return [one for one in found if one.workspace == workspace and one.kind == "chunks" and not one.filter]


def recorded(release: Release, workspace: str, notify: Notify) -> list[str]:
    """Recorded questions that can be repeated, newest first; notifies when there are none."""
    try:
        found = release.recordings(_NEWEST)
    except ApiError as error:
        if error.code != "recording-disabled":
            raise
        notify(Event(f"no recorded questions are used: {error.message}; {error.hint}"))
        return []
    for one in found.missing:
        notify(Event(f"recorded questions are incomplete: {one}"))
    fitting = [one.query for one in plain(found.questions, workspace)]
    if not fitting:
        notify(Event(f"no questions about workspace '{workspace}' recorded yet"))
    return fitting
