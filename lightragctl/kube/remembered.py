"""A cluster that is read: what was read once is not requested again, so that all readers see the same objects."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import ObjectRef
from lightragctl.kube.guarded import GuardedCluster
from lightragctl.kube.model import Cluster, ResourceAttributes


def _refuse() -> None:
    raise RuntimeError("a cluster that is only read was written to: a mistake in our own code")


@dataclass(frozen=True)
class RememberedCluster(GuardedCluster):
    """A `kube.model.Cluster` for one look at it; thread-safe. Errors are remembered too.

    All readers share its objects, which must not be changed.
    """

    _kept: dict[Hashable, Future[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, inner: Cluster) -> "RememberedCluster":
        """A cluster that has read nothing yet."""
        return cls(inner, _refuse)

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """See `Cluster`."""
        found: dict[str, Any] | None = self._once(identity, lambda: self.inner.get(identity))
        return found

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """See `Cluster`."""
        key = (api_version, kind, namespace, selector)
        found: list[dict[str, Any]] = self._once(key, lambda: self.inner.select(*key))
        return list(found)

    def allowed(self, access: ResourceAttributes) -> bool:
        """See `Cluster`."""
        return bool(self._once(access, lambda: self.inner.allowed(access)))

    def _once(self, key: Hashable, ask: Callable[[], Any]) -> Any:
        with self._lock:
            is_first = key not in self._kept
            future = self._kept.setdefault(key, Future())
        if is_first:
            try:
                future.set_result(ask())
            except LightragctlError as error:
                future.set_exception(error)
            finally:  # of another error, which is raised here, the others are told that there is no answer
                future.cancel()
        return future.result()
