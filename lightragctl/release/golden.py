"""A golden set against a live release: the workspace's place, its doors, the questions that were recorded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from lightragctl.client.api import ApiError, RecordedQuestion
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import ApiSettings
from lightragctl.quality.golden_store import Doors, Embed, Place
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


def settings(release: Release) -> ApiSettings:
    """What the profile says of lightrag-api: workspace, model and index."""
    return service_settings(None, ApiSettings, lambda: release.plan, "lightrag-api")


def place(release: Release, workspace: str | None) -> Place:
    """The workspace, the profile's own unless another is named."""
    told = settings(release)
    return Place(workspace or told.workspace, told.embedding, index_spec(told.index))


@contextmanager
def store(release: Release) -> Iterator[MilvusStore]:
    """The release's vector store, closed after the block."""
    opened = MilvusStore(release.runtime.endpoint("vector-engine"), _CALL_S)
    try:
        yield opened
    finally:
        opened.close()


def doors(release: Release, workspace: str) -> Doors:
    """The index, and lightrag-api."""

    def retrieve(question: str, k: int) -> Sequence[str]:
        answer = release.api.retrieve(question, top_k=k, workspace=workspace, recorded=False)
        return [hit.id for hit in answer.hits]

    return Doors(partial(search_all, release.runtime.endpoint("vector-engine")), retrieve)


def embed(release: Release) -> Embed:
    """The release's embedding model, asked for only when there are questions."""
    return lambda questions: QuestionEmbedder(release.runtime.endpoint("model-gateway"), settings(release).embedding)(
        questions
    )


def plain(found: Sequence[RecordedQuestion], workspace: str) -> list[RecordedQuestion]:
    """Those that asked for passages of the workspace without a filter, so that they can be asked again alike."""
    return [one for one in found if one.workspace == workspace and one.kind == "chunks" and not one.filter]


def recorded(release: Release, workspace: str, notify: Notify) -> list[str]:
    """Questions that were asked for passages of the workspace without a filter, newest first; says when none are."""
    try:
        found = release.recordings(_NEWEST)
    except ApiError as error:
        if error.code != "no-recording":
            raise
        notify(Event(f"{error.message}, so that none are taken; {error.hint}"))
        return []
    for one in found.missing:
        notify(Event(f"of the recorded questions {one}"))
    fitting = [one.query for one in plain(found.questions, workspace)]
    if not fitting:
        notify(Event(f"no question about workspace '{workspace}' was recorded yet"))
    return fitting
