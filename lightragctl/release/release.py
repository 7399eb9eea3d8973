"""One release: its profile, plan, runtime and clients. Slow imports happen on first use."""

import functools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.hint import Command, Hint

if TYPE_CHECKING:
    from lightragctl.client.api import ApiClient
    from lightragctl.client.lightrag import LightragTarget
    from lightragctl.client.recordings import AllRecordings
    from lightragctl.core.component import Plan
    from lightragctl.core.profile import LoadedProfile
    from lightragctl.core.runtime import ReleaseRuntime, Revisions

_API_SILENCE_S = 120.0
"""Read timeout of lightrag-api: a chat model may take its whole deadline before the first byte."""
_RECORDINGS_SILENCE_S = 30.0
"""Read timeout of recordings: a replica reads two files of some megabytes before the first byte."""


class _Closeable(Protocol):
    def close(self) -> None: ...


CloseableT = TypeVar("CloseableT", bound=_Closeable)


@dataclass(frozen=True)
class ReleaseOptions:
    """Which release to open, and how to reach it; None or empty: the default.

    Attributes:
        profile: the name of a shipped profile, or a file.
        name: of the release; the profile's name by default.
        values: files that override the profile.
        assignments: KEY=VALUE strings that override both.
        namespace: overrides the profile's.
        kubeconfig, context: which cluster.
    """

    profile: str | None = None
    name: str | None = None
    values: Sequence[Path] = ()
    assignments: Sequence[str] = ()
    namespace: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None


class Release:
    """A release whose parts are opened on first use and closed with the context.

    Args:
        options: which release, and how to reach it.
        environ: the environment of the process.
        recorded: the profile that the release was brought up with, where that is used instead of the options'.
    """

    def __init__(
        self, options: ReleaseOptions, environ: Mapping[str, str], recorded: "LoadedProfile | None" = None
    ) -> None:
        self.options = options
        self.environ = environ
        self._recorded = recorded
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    @property
    def is_recorded(self) -> bool:
        """Whether it is opened from inside its cluster, by what its inventory says."""
        return self._recorded is not None

    @functools.cached_property
    def loaded(self) -> "LoadedProfile":
        """The validated profile with its overrides.

        Raises:
            ProfileError: the profile or an override is wrong.
        """
        if self._recorded is not None:
            return self._recorded
        from lightragctl.release.profiles import load_profile

        given = self.options
        return load_profile(given.profile, given.values, given.assignments, given.namespace)

    @functools.cached_property
    def draft(self) -> "LoadedProfile":
        """The profile to show; required values may be missing.

        Raises:
            ProfileError: the profile or an override is wrong.
        """
        from lightragctl.release.profiles import draft_profile

        given = self.options
        return draft_profile(given.profile, given.values, given.assignments, given.namespace)

    @property
    def name(self) -> str:
        """The release's name.

        Raises:
            UsageError: it is not a DNS label.
        """
        from lightragctl.core.profile import is_dns_label

        name = self.options.name or self.loaded.name
        if not is_dns_label(name):
            raise UsageError(
                f"'{name}' is not a valid release name: lower-case letters, digits and -, at most 40, a letter first",
                "set --name RELEASE",
            )
        return name

    @functools.cached_property
    def plan(self) -> "Plan":
        """The profile under the release's name, with its components."""
        from lightragctl.release.profiles import make_plan

        return make_plan(self.name, self.loaded)

    @functools.cached_property
    def runtime(self) -> "ReleaseRuntime":
        """The runtime of the release."""
        from lightragctl.release.open import RuntimeOptions, open_runtime

        place = RuntimeOptions(self.environ, self.options.kubeconfig, self.options.context)
        addresses = self.plan.url if self.is_recorded else None
        return self.closing(open_runtime(self.name, self.loaded, place, addresses))

    def revisions(self, command: str) -> "Revisions":
        """The release's revisions and its lock.

        Args:
            command: the name of the command that needs them, for the refusal.

        Raises:
            RefusedError: its runtime keeps none.
        """
        from lightragctl.core.runtime import Revisions

        if not isinstance(self.runtime, Revisions):
            raise _needs_cluster(command)
        return self.runtime

    @functools.cached_property
    def api(self) -> "ApiClient":
        """A client of the release's lightrag-api.

        Raises:
            NotRunningError: the release is not up.
        """
        from lightragctl.client.api import ApiClient

        endpoint = self.runtime.endpoint("lightrag-api")
        return self.closing(ApiClient(endpoint, timeout_s=_API_SILENCE_S, api_key=self.runtime.api_key()))

    def recordings(self, limit: int) -> "AllRecordings":
        """The questions that the replicas of lightrag-api have recorded.

        Raises:
            NotRunningError: the release is not up.
            LightragctlError: no replica answers, or none records.
        """
        from lightragctl.client.api import ApiClient
        from lightragctl.client.recordings import read_all

        key = self.runtime.api_key()
        replicas = self.runtime.endpoints("lightrag-api")
        with ExitStack() as opened:
            clients = {
                name: opened.enter_context(ApiClient(url, _RECORDINGS_SILENCE_S, api_key=key))
                for name, url in replicas.items()
            }
            return read_all({name: client.recordings for name, client in clients.items()}, limit)

    def lightrag(self, workspace: str | None) -> "LightragTarget | None":
        """The target for loading documents of a workspace (None: the release's) through lightrag-server; or None.

        Raises:
            NotRunningError: the release is not up, or its lightrag-server is not ready.
        """
        from lightragctl.client.lightrag import LightragClient, LightragTarget

        name = "lightrag-server"
        if name not in self.runtime.components():
            return None
        client = LightragClient(self.runtime.endpoint(name), _API_SILENCE_S, self.runtime.api_key(name))
        server = self._opened.enter_context(client)
        served = server.workspace()
        return LightragTarget(server, self.api, served) if workspace in (None, served) else None

    def of_profile(self, profile: str) -> "Release":
        """The release of another profile, under its own name, on the same cluster; closed with this one."""
        return self._opened.enter_context(Release(replace(self.options, profile=profile, name=None), self.environ))

    def closing(self, resource: CloseableT) -> CloseableT:
        """The resource, which is closed with the release."""
        return self._opened.enter_context(closing(resource))


def _needs_cluster(command: str) -> RefusedError:
    hint = Hint(
        "on Kubernetes: ", Command(command, "--profile dev"), "; here: ", Command("up"), " with the earlier profile"
    )
    if command == "unlock":
        hint = Hint("the lock of a local release ends with the process that holds it")
    return RefusedError(f"{command} needs a release on Kubernetes; this one runs as local processes", hint)
