"""The release that a command works on: its cluster, namespace and name, and the lock holder."""

from dataclasses import dataclass
from typing import Any

from lightragctl.kube import labels
from lightragctl.kube.lease import LockHolder
from lightragctl.kube.model import Cluster


@dataclass(frozen=True)
class Scope:
    """A release on a cluster, and the holder of its lock."""

    cluster: Cluster
    namespace: str
    release: str
    holder: LockHolder

    @property
    def selector(self) -> str:
        """The label selector of the release's objects."""
        return labels.object_selector(self.release)

    @property
    def pods(self) -> str:
        """The label selector of the release's pods."""
        return labels.pod_selector(self.release)

    def select(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        """The release's objects of a kind."""
        return self.cluster.select(api_version, kind, self.namespace, self.selector)
