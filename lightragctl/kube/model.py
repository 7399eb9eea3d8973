"""The interface to a cluster, and its errors. Pure.

ClusterUnavailableError   (UnavailableError) no response from the API server in time
NoClusterError            (UsageError) no kubeconfig, or not the requested context
ForbiddenError            a missing permission
KindNotServedError        the cluster does not serve the kind
FieldConflictError        (LockedError) another field manager owns a field that would change
ChangedMeanwhileError     (LockedError) the object has changed since it was read
InvalidObjectError        the API server rejects the object
ImmutableFieldError       (InvalidObjectError) an immutable field would change
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lightragctl.core.errors import LightragctlError, LockedError, UnavailableError, UsageError
from lightragctl.core.objects import KubernetesObject, ObjectRef

FIELD_MANAGER = "lightragctl"
"""Field manager of the fields that a release's templates set."""
ABSENT = "1"
"""As resourceVersion: the object must not exist. No object has the first version of the store."""


class ClusterUnavailableError(UnavailableError):
    """No response from the API server in time."""

    code = "cluster-unavailable"


class NoClusterError(UsageError):
    """There is no kubeconfig, or it lacks the requested context."""

    code = "no-cluster"


class ForbiddenError(LightragctlError):
    """The API server denies the request: a permission is missing."""

    code = "forbidden"


class KindNotServedError(LightragctlError):
    """The cluster does not serve the kind."""

    code = "kind-not-served"


class FieldConflictError(LockedError):
    """Fields are owned by another manager; `fields` holds (path, manager)."""

    code = "field-conflict"

    def __init__(self, message: str, hint: str = "", fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint)
        self.fields = tuple(fields)


class ChangedMeanwhileError(LockedError):
    """The object was changed, created or deleted by another process since it was read."""

    code = "changed-meanwhile"


class InvalidObjectError(LightragctlError):
    """The API server rejects the object: a field is unknown, immutable or invalid."""

    code = "invalid-object"


class ImmutableFieldError(InvalidObjectError):
    """An immutable field would change."""

    code = "immutable-field"


@dataclass(frozen=True)
class Resource:
    """The resource of a kind in the API."""

    group: str
    version: str
    plural: str
    namespaced: bool


@dataclass(frozen=True)
class ResourceAttributes:
    """A request that RBAC allows or denies, as in a SelfSubjectAccessReview."""

    verb: str
    group: str
    resource: str
    namespace: str
    subresource: str = ""

    def __str__(self) -> str:
        name = self.resource + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {name}" + (f".{self.group}" if self.group else "")


class Cluster(Protocol):
    """A cluster; implemented by `kube.client` and by a fake for tests."""

    @property
    def name(self) -> str:
        """The context in the kubeconfig."""

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind; None if the cluster does not serve it."""

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """The object; None if it does not exist."""

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind with these labels, `key=value,...`."""

    def apply(
        self, thing: KubernetesObject, *, dry_run: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """Server-side apply with strict field validation; returns the object, in a dry run the predicted one.

        The metadata may have preconditions: `uid` and `resourceVersion` of the live object, or `ABSENT` as version if
        it must not exist.

        Raises:
            ChangedMeanwhileError: a precondition fails.
            FieldConflictError: another manager owns a field; `force` takes ownership.
            InvalidObjectError: a field is unknown, immutable or invalid.
        """

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        """Create an object.

        Raises:
            ChangedMeanwhileError: it exists already.
        """

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        """Replace the object with this resourceVersion.

        Raises:
            ChangedMeanwhileError: it has another resourceVersion.
        """

    def delete(
        self, identity: ObjectRef, uid: str, *, version: str = "", orphan: bool = False, grace_s: int | None = None
    ) -> bool:
        """Delete the object with this uid, and this resourceVersion if given; False if it is gone.

        Its dependents are deleted in the background, or orphaned. `grace_s`: of a pod, also of one that is ending;
        None: its own.

        Raises:
            ChangedMeanwhileError: it has another resourceVersion.
        """

    def allowed(self, access: ResourceAttributes) -> bool:
        """Whether RBAC allows the request."""

    def log(  # noqa: PLR0913 - options of the API
        self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool, since_s: int = 0
    ) -> Iterator[str]:
        """Lines of the pod's first container; of the last `since_s` seconds, if that is not 0."""
