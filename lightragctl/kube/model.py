"""What the door to a cluster takes and gives besides plain objects, and its errors. Pure.

ClusterUnavailableError   (UnavailableError) the API server does not answer, or not in time
NoClusterError            (UsageError) no kubeconfig, or not the wanted context
ForbiddenError            we may not do this
KindNotServedError        the cluster does not know the kind
FieldConflictError        (LockedError) another field manager owns a field that we would change
ChangedMeanwhileError     (LockedError) somebody wrote the object since we read it
InvalidObjectError        the API server refuses the object
ImmutableFieldError       (InvalidObjectError) a field would change that cannot while the object lives
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lightragctl.core.errors import LightragctlError, LockedError, UnavailableError, UsageError
from lightragctl.core.objects import KubernetesObject, ObjectRef

FIELD_MANAGER = "lightragctl"
"""Field manager of the fields that a release's templates set."""
ABSENT = "1"
"""The resourceVersion of an object that must not be there: no object ever has the first version of the whole store."""


class ClusterUnavailableError(UnavailableError):
    """The API server does not answer, or not in time."""

    code = "cluster-unavailable"


class NoClusterError(UsageError):
    """There is no kubeconfig, or it lacks the wanted context."""

    code = "no-cluster"


class ForbiddenError(LightragctlError):
    """The API server knows us and refuses."""

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
    """The object was written, made or deleted by somebody else since it was read."""

    code = "changed-meanwhile"


class InvalidObjectError(LightragctlError):
    """The API server refuses the object: a field is unknown, immutable or does not fit."""

    code = "invalid-object"


class ImmutableFieldError(InvalidObjectError):
    """A field would change that cannot change while the object lives."""

    code = "immutable-field"


@dataclass(frozen=True)
class Resource:
    """How the API server addresses a kind."""

    group: str
    version: str
    plural: str
    namespaced: bool


@dataclass(frozen=True)
class ResourceAttributes:
    """A question to the API server: may we do `verb` on `resource` of `group` in `namespace`?"""

    verb: str
    group: str
    resource: str
    namespace: str
    subresource: str = ""

    def __str__(self) -> str:
        name = self.resource + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {name}" + (f".{self.group}" if self.group else "")


class Cluster(Protocol):
    """A cluster as the deploy engine needs it; `kube.client` is the real one, tests have a fake."""

    @property
    def name(self) -> str:
        """What a person calls it: the context of the kubeconfig."""

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How a kind is addressed; None when the cluster does not serve it."""

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """The object, or None."""

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind with these labels, `key=value,...`."""

    def apply(
        self, thing: KubernetesObject, *, dry_run: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """Server-side apply with strict field validation; the object as the server has, or would have it.

        The object may say in its metadata what it is applied to: `uid` and `resourceVersion` of the live one, or
        `ABSENT` as version when there must be none. Without that it is applied to whatever is there.

        Raises:
            ChangedMeanwhileError: what is there is not that.
            FieldConflictError: another manager owns a field; `force` takes it over.
            InvalidObjectError: a field is unknown, immutable or does not fit.
        """

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        """Make an object that must not be there.

        Raises:
            ChangedMeanwhileError: it is there.
        """

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        """Write an object over the one with its resourceVersion.

        Raises:
            ChangedMeanwhileError: it has another resourceVersion by now.
        """

    def delete(self, identity: ObjectRef, uid: str, *, version: str = "", orphan: bool = False) -> bool:
        """Delete the object of this uid, and of this resourceVersion if one is given; False when it is gone already.

        What it made goes too, in the background; with `orphan` it stays, without an owner.

        Raises:
            ChangedMeanwhileError: it has another resourceVersion by now.
        """

    def allowed(self, access: ResourceAttributes) -> bool:
        """Whether we may."""

    def log(self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool) -> Iterator[str]:
        """Lines of the pod's first container."""
