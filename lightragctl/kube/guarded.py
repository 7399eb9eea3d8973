"""A cluster that checks the release lock before each write.

A process may be suspended between the check and the write. So writes need preconditions too: a new lock holder has
changed the object by then, and the server rejects the write (`deploy.conditional`, `deploy.fencing`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.model import FIELD_MANAGER, Cluster, Resource, ResourceAttributes


@dataclass(frozen=True)
class GuardedCluster:
    """A `kube.model.Cluster`; `check` raises if the lock is lost."""

    inner: Cluster
    check: Callable[[], None]

    @property
    def name(self) -> str:
        """See `Cluster`."""
        return self.inner.name

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """See `Cluster`."""
        return self.inner.resource(api_version, kind)

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """See `Cluster`."""
        return self.inner.get(identity)

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """See `Cluster`."""
        return self.inner.select(api_version, kind, namespace, selector)

    def apply(
        self, thing: KubernetesObject, *, dry_run: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """See `Cluster`."""
        if not dry_run:
            self.check()
        return self.inner.apply(thing, dry_run=dry_run, force=force, manager=manager)

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        self.check()
        return self.inner.create(thing)

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        self.check()
        return self.inner.replace(thing)

    def delete(
        self, identity: ObjectRef, uid: str, *, version: str = "", orphan: bool = False, grace_s: int | None = None
    ) -> bool:
        """See `Cluster`."""
        self.check()
        return self.inner.delete(identity, uid, version=version, orphan=orphan, grace_s=grace_s)

    def allowed(self, access: ResourceAttributes) -> bool:
        """See `Cluster`."""
        return self.inner.allowed(access)

    def log(  # noqa: PLR0913 - options of the API
        self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool, since_s: int = 0
    ) -> Iterator[str]:
        """See `Cluster`."""
        return self.inner.log(namespace, pod, tail_lines=tail_lines, follow=follow, previous=previous, since_s=since_s)
