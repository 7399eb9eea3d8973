"""What `golden` works with: the workspace's place, its doors, the questions that were recorded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from lightragctl.cli.loading import service_settings
from lightragctl.client.api import ApiError
from lightragctl.core.result import Event, Notify
from lightragctl.core.settings import ApiSettings
from lightragctl.quality.golden_store import Doors, Embed, Place
from lightragctl.vectors.ask import search_all
from lightragctl.vectors.embedding import QuestionEmbedder
from lightragctl.vectors.milvus import MilvusStore
from lightragctl.vectors.model import index_spec

if TYPE_CHECKING:
    from lightragctl.cli.options import Session
    from lightragctl.client.api import RecordedQuestion

_CALL_S = 30.0
"""The deadline of one call to Milvus; a page of many long vectors takes seconds through a tunnel."""
_NEWEST = 10_000
"""How many recorded questions are looked at."""


def settings(session: "Session") -> ApiSettings:
    """What the profile says of lightrag-api: workspace, model and index."""
    return service_settings(None, ApiSettings, lambda: session.plan, "lightrag-api")


def place(session: "Session", workspace: str | None) -> Place:
    """The workspace, the profile's own unless another is named."""
    told = settings(session)
    return Place(workspace or told.workspace, told.embedding, index_spec(told.index))


@contextmanager
def store(session: "Session") -> Iterator[MilvusStore]:
    """The release's vector store, closed after the block."""
    opened = MilvusStore(session.runtime.endpoint("vector-engine"), _CALL_S)
    try:
        yield opened
    finally:
        opened.close()


def doors(session: "Session", workspace: str) -> Doors:
    """The index, and lightrag-api."""

    def retrieve(question: str, k: int) -> Sequence[str]:
        answer = session.api.retrieve(question, top_k=k, workspace=workspace, recorded=False)
        return [hit.id for hit in answer.hits]

    return Doors(partial(search_all, session.runtime.endpoint("vector-engine")), retrieve)


def embed(session: "Session") -> Embed:
    """The release's embedding model, asked for only when there are questions."""
    return lambda questions: QuestionEmbedder(session.runtime.endpoint("model-gateway"), settings(session).embedding)(
        questions
    )


def plain(found: "Sequence[RecordedQuestion]", workspace: str) -> "list[RecordedQuestion]":
    """Those that asked for passages of the workspace without a filter, so that they can be asked again alike."""
    return [one for one in found if one.workspace == workspace and one.kind == "chunks" and not one.filter]


def recorded(session: "Session", workspace: str, notify: Notify) -> list[str]:
    """Questions that were asked for passages of the workspace without a filter, newest first; says when none are."""
    try:
        found = session.recordings(_NEWEST)
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
