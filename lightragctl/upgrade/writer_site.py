"""lightrag-server of a release for the steps of its upgrade: what questions find, its control, a second one. I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightragctl.client.lightrag import LightragClient
from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.result import Notify
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.release.release import Release
from lightragctl.release.writers import WRITER, WriterControl
from lightragctl.upgrade.compared import TOP_K, Asked
from lightragctl.upgrade.engine_site import EngineSite, engine_site_of

_ANSWER_S = 60.0


@dataclass(frozen=True)
class WriterSite:
    """A release with lightrag-server.

    Attributes:
        engine: its vector store.
        ask: what questions find; of the release's server, or of the one in a pod.
        control: stops and starts the release's server.
    """

    engine: EngineSite
    ask: Callable[[Sequence[str], KubernetesObject | None], list[Asked]]
    control: Callable[[Notify], WriterControl]


def writer_site_of(release: Release) -> WriterSite:
    """The site of a release that is up.

    Raises:
        RefusedError: it runs as local processes.
    """
    engine, runtime = engine_site_of(release), release.runtime
    assert isinstance(runtime, KubernetesRuntime)

    def ask(questions: Sequence[str], pod: KubernetesObject | None) -> list[Asked]:
        address = runtime.pod_address(pod) if pod else runtime.endpoint(WRITER)
        with LightragClient(address, _ANSWER_S, runtime.api_key(WRITER)) as server:
            return [_asked(server, question) for question in questions]

    return WriterSite(engine, ask, lambda notify: WriterControl(runtime, notify))


def _asked(server: LightragClient, question: str) -> Asked:
    """The chunks of a question; upstream gives no scores: that of a chunk is its place."""
    try:
        found = server.chunks(question, TOP_K)
    except LightragctlError as error:
        return Asked(error=error.message)
    return Asked(tuple((id, float(TOP_K - place)) for place, id in enumerate(found)))
