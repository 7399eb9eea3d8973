"""Blocks writes to a workspace: takes the fence and stops lightrag-server. Does network I/O."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from lightragctl.backup.source import Held
from lightragctl.core.errors import WaitExpired
from lightragctl.core.result import Event, Notify
from lightragctl.release.writers import WriterControl, find_writer
from lightragctl.vectors.fence import Clock, Fence, FenceTerms, hold
from lightragctl.vectors.store import VectorStore


@dataclass
class _Rest:
    """How long lightrag-server was stopped; known at the end."""

    seconds: float = 0.0


@dataclass(frozen=True)
class _Held:
    """A fence that is held."""

    fence: Fence
    rest: _Rest

    @property
    def writer_stopped_s(self) -> float:
        """See `Held`."""
        return self.rest.seconds

    def check(self) -> None:
        """See `Held`."""
        self.fence.confirm()


@dataclass(frozen=True)
class WriteStop:
    """How writes to a workspace are blocked.

    Attributes:
        store: where the workspace is.
        workspace: its name.
        control: of lightrag-server; None where it does not write to the workspace.
        timeout_s: how long to wait until nothing writes any more, and until lightrag-server is ready again.
        token: names the fence.
        clock: of the fence; None: that of the system.
    """

    store: VectorStore
    workspace: str
    control: WriterControl | None
    timeout_s: float
    token: str
    clock: Clock | None = None

    @contextlib.contextmanager
    def held(self, notify: Notify) -> Iterator[Held]:
        """Blocks writes; at the end lightrag-server is started again and the fence released, also after an error.

        Raises:
            FenceHeldError: another command holds them off.
            WaitExpired: something still writes after the timeout.
        """
        terms = FenceTerms(self.token, f"backup {self.token}", drain_s=self.timeout_s)
        with (
            hold(self.store, self.workspace, terms, notify, self.clock) as fence,
            self._writer_at_rest(notify) as rest,
        ):
            yield _Held(fence, rest)

    @contextlib.contextmanager
    def _writer_at_rest(self, notify: Notify) -> Iterator[_Rest]:
        rest = _Rest()
        control = self.control
        writer = find_writer(control.runtime) if control else None
        if control is None or writer is None:
            yield rest
            return
        control.wait_idle(self.timeout_s)
        stopped_at = control.clock.now()
        try:
            control.stop(f"backup {self.token}", self.timeout_s)
            yield rest
        finally:
            try:
                rest.seconds = control.start(writer, stopped_at, self.timeout_s)
            except WaitExpired as error:  # the copy is whole all the same
                rest.seconds = (control.clock.now() - stopped_at).total_seconds()
                notify(Event(error.message, writer.component))
