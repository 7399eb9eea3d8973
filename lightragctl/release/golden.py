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
from lightragctl.vectors.model import index_spec

_CALL_S = 30.0
"""The deadline of one call to Milvus; a page of many long vectors takes seconds through a tunnel."""
_NEWEST = 10_000
"""How many recorded questions are looked at."""


@dataclass(frozen=True)
class BuildOptions:
    """What to build a golden set of.

    Attributes:
        sample: number of stored passages.
        recorded: most questions that were recorded.
        questions: questions of the user's own.
        k: how many nearest passages to know.
        seed: of the sample.
    """

    sample: int
    recorded: int
    questions: Sequence[str]
    k: int
    seed: int


def place(release: Release, workspace: str | None) -> GoldenWorkspace:
    """The workspace, the profile's own unless another is named."""
    told = _settings(release)
    return GoldenWorkspace(workspace or told.workspace, told.embedding, index_spec(told.index))


def build(release: Release, place: GoldenWorkspace, options: BuildOptions, now_s: int, notify: Notify) -> BuildResult:
    """Find the right answers by exact search, and make them the workspace's golden set; `now_s` in unix seconds.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.build`.
    """
    with _store(release) as store:
        asked = _recorded(release, place.workspace, notify) if options.recorded else []
        questions = golden.questions(asked, options.questions, options.recorded)
        plan = golden_store.BuildPlan(options.sample, questions, options.k, options.seed, now_s, __version__)
        return golden_store.build(store, place, plan, _embed(release), notify)


def known(release: Release, place: GoldenWorkspace) -> tuple[GoldenSet, list[int]]:
    """The golden set that counts, and the versions that are stored.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.load`.
    """
    with _store(release) as store:
        return golden_store.load(store, place), golden_store.versions(store, place)


def check(release: Release, place: GoldenWorkspace, wanted: CheckOptions, notify: Notify) -> GoldenReport:
    """How well the release answers the queries of its golden set now. Writes nothing.

    Raises:
        NotRunningError: the release is not up.
        LightragctlError: as `golden_store.check`.
    """
    with _store(release) as store:
        return golden_store.check(store, place, _doors(release, place.workspace), wanted, notify)


def _settings(release: Release) -> ApiSettings:
    """What the profile says of lightrag-api: workspace, model and index."""
    return service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api")


@contextmanager
def _store(release: Release) -> Iterator[MilvusStore]:
    """The release's vector store, closed after the block."""
    opened = MilvusStore(release.runtime.endpoint("vector-engine"), _CALL_S)
    try:
        yield opened
    finally:
        opened.close()


def _doors(release: Release, workspace: str) -> Searchers:
    """The index, and lightrag-api."""

    def retrieve(question: str, k: int) -> Sequence[str]:
        answer = release.api.retrieve(question, top_k=k, workspace=workspace, recorded=False)
        return [hit.id for hit in answer.hits]

    return Searchers(partial(search_all, release.runtime.endpoint("vector-engine")), retrieve)


def _embed(release: Release) -> Embed:
    """The release's embedding model, asked for only when there are questions."""
    return lambda questions: QuestionEmbedder(release.runtime.endpoint("model-gateway"), _settings(release).embedding)(
        questions
    )


def plain(found: Sequence[RecordedQuestion], workspace: str) -> list[RecordedQuestion]:
    """Those that asked for passages of the workspace without a filter, so that they can be asked again alike."""
    return [one for one in found if one.workspace == workspace and one.kind == "chunks" and not one.filter]


def _recorded(release: Release, workspace: str, notify: Notify) -> list[str]:
    """Questions that were asked for passages of the workspace without a filter, newest first; says when none are."""
    try:
        found = release.recordings(_NEWEST)
    except ApiError as error:
        if error.code != "recording-disabled":
            raise
        notify(Event(f"{error.message}, so that none are taken; {error.hint}"))
        return []
    for one in found.missing:
        notify(Event(f"of the recorded questions {one}"))
    fitting = [one.query for one in plain(found.questions, workspace)]
    if not fitting:
        notify(Event(f"no question about workspace '{workspace}' was recorded yet"))
    return fitting
