"""The real cluster: the API server through the official client's connection, authentication and configuration.

Objects go in and out as plain maps; none of the client's model classes is loaded (they cost 0.3 s and forget fields
they do not know). Every call has a deadline. May be used from several threads.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, new_client_from_config

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.model import (
    FIELD_MANAGER,
    Access,
    ChangedMeanwhileError,
    ClusterUnavailableError,
    FieldConflictError,
    ForbiddenError,
    ImmutableFieldError,
    InvalidObjectError,
    KindNotServedError,
    NoClusterError,
    Resource,
)
from lightragctl.kube.unanswered import explain

CALL_S = 20.0
"""Deadline of one call; a loaded API server of one small machine took up to 2 s."""
CONNECT_S = 5.0
_SILENCE_S = 3600.0
"""How long a followed log may be silent before the connection is given up."""
_PAGE = 500
_CONNECTIONS = 16
"""Connections kept to the API server, as many as the deploy engine has calls in flight."""


class ClusterClient:
    """A `kube.model.Cluster` on an API server."""

    def __init__(self, api: ApiClient, name: str) -> None:
        self._api = api
        self._name = name
        self._resources: dict[str, dict[str, Resource]] = {}
        self._discovering = threading.Lock()
        self.requests = 0
        """Calls made so far, for measurements."""

    @property
    def name(self) -> str:
        """See `Cluster`."""
        return self._name

    @property
    def connection(self) -> ApiClient:
        """The official client's connection, for `kube.streams`."""
        return self._api

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """See `Cluster`. A group's kinds are asked for once."""
        with self._discovering:
            if api_version not in self._resources:
                self._resources[api_version] = self._discover(api_version)
        return self._resources[api_version].get(kind)

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """See `Cluster`."""
        status, answer = self._call("GET", self._path(identity))
        return None if status == 404 else _checked(status, answer, str(identity))

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """See `Cluster`."""
        path = self._path(ObjectRef(api_version, kind, namespace, ""))
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            query = {"labelSelector": selector, "limit": str(_PAGE), **({"continue": more} if more else {})}
            status, answer = self._call("GET", path, query)
            page = _checked(status, answer, f"{kind} in {namespace}")
            found += [{"apiVersion": api_version, "kind": kind, **item} for item in page.get("items") or []]
            more = page.get("metadata", {}).get("continue", "")
            if not more:
                return found

    def apply(
        self, thing: KubernetesObject, *, dry_run: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        """See `Cluster`."""
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
        if dry_run:
            query["dryRun"] = "All"
        identity = ref(thing)
        status, answer = self._call("PATCH", self._path(identity), query, thing)
        return _checked(status, answer, str(identity))

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        identity = ref(thing)
        path = self._path(ObjectRef(identity.api_version, identity.kind, identity.namespace, ""))
        status, answer = self._call("POST", path, {"fieldManager": FIELD_MANAGER}, thing)
        return _checked(status, answer, str(identity))

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        identity = ref(thing)
        status, answer = self._call("PUT", self._path(identity), {"fieldManager": FIELD_MANAGER}, thing)
        return _checked(status, answer, str(identity))

    def delete(self, identity: ObjectRef, uid: str, *, orphan: bool = False) -> bool:
        """See `Cluster`."""
        options = {"propagationPolicy": "Orphan" if orphan else "Background", "preconditions": {"uid": uid}}
        status, answer = self._call("DELETE", self._path(identity), {}, options)
        if status in (404, 409):  # gone; or another object has its name by now, which is not ours to delete
            return False
        _checked(status, answer, str(identity))
        return True

    def allowed(self, access: Access) -> bool:
        """See `Cluster`."""
        wanted = {"verb": access.verb, "group": access.group, "resource": access.resource}
        attributes = {**wanted, "namespace": access.namespace, "subresource": access.subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        status, answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, review)
        return bool(_checked(status, answer, str(access))["status"]["allowed"])

    def log(self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool) -> Iterator[str]:
        """See `Cluster`."""
        flags = {"follow": str(follow).lower(), "previous": str(previous).lower(), "tailLines": str(tail_lines)}
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log"
        response = self._send("GET", path, flags, timeout_s=_SILENCE_S if follow else CALL_S)
        if response.status != 200:
            raise _problem(response.status, _parsed(response.read()), f"Pod/{pod}")
        rest = b""
        try:
            for piece in response.response.stream(65536):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer(self._name, error) from error
        finally:
            response.response.release_conn()
        if rest:
            yield rest.decode("utf-8", "replace")

    def _discover(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        status, answer = self._call("GET", f"/apis/{api_version}" if group else f"/api/{version}")
        if status == 404:
            return {}
        listed = _checked(status, answer, api_version)["resources"]
        return {
            one["kind"]: Resource(group, version, one["name"], one["namespaced"])
            for one in listed
            if "/" not in one["name"]
        }

    def _path(self, identity: ObjectRef) -> str:
        """The address of an object, or without a name of its kind."""
        resource = self.resource(identity.api_version, identity.kind)
        if resource is None:
            raise KindNotServedError(
                f"cluster {self._name} does not serve {identity.kind} of {identity.api_version}",
                "install what brings it, or use a newer Kubernetes",
            )
        root = f"/apis/{identity.api_version}" if resource.group else f"/api/{identity.api_version}"
        inside = f"/namespaces/{quote(identity.namespace)}" if resource.namespaced else ""
        return f"{root}{inside}/{resource.plural}" + (f"/{quote(identity.name)}" if identity.name else "")

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, dict[str, Any]]:
        response = self._send(method, path, query or {}, body)
        try:
            return response.status, _parsed(response.read())
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer(self._name, error) from error

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, timeout_s: float = CALL_S
    ) -> Any:
        self.requests += 1
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if method == "PATCH":  # only ever server-side apply; JSON is YAML too
            headers["Content-Type"], body = "application/apply-patch+yaml", json.dumps(body)
        try:
            self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
            url = f"{self._api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
            return self._api.call_api(method, url, headers, body, _request_timeout=(CONNECT_S, timeout_s))
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer(self._name, error) from error


def connect(kubeconfig: Path | None, context: str | None) -> ClusterClient:
    """The cluster of a kubeconfig's context; without a kubeconfig and inside a pod, the pod's own cluster.

    Raises:
        NoClusterError: there is no kubeconfig, it cannot be read or it lacks the context.
    """
    file = str(kubeconfig) if kubeconfig else None
    try:
        contexts, active = list_kube_config_contexts(file)
        name = context or active["name"]
        if name not in [one["name"] for one in contexts]:
            known = ", ".join(sorted(one["name"] for one in contexts))
            raise NoClusterError(f"the kubeconfig has no context '{name}'", f"it has: {known}")
        api = new_client_from_config(file, name)
    except ConfigException as error:
        if kubeconfig is None and context is None and (inside := _inside_pod()):
            return inside
        hint = "name one with --kubeconfig FILE or KUBECONFIG; without a cluster: --profile local"
        raise NoClusterError(f"no usable kubeconfig: {error}", hint) from error
    api.configuration.connection_pool_maxsize = _CONNECTIONS
    return ClusterClient(ApiClient(api.configuration), name)


def _inside_pod() -> ClusterClient | None:
    try:
        load_incluster_config()
    except ConfigException:
        return None
    return ClusterClient(ApiClient(), "in-cluster")


def _no_answer(name: str, error: Exception) -> ClusterUnavailableError:
    return ClusterUnavailableError(*explain(name, str(getattr(error, "reason", None) or error)))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {"message": body.decode("utf-8", "replace").strip()}
    return answer if isinstance(answer, dict) else {"message": str(answer)}


def _checked(status: int, answer: dict[str, Any], subject: str) -> dict[str, Any]:
    if status < 300:
        return answer
    raise _problem(status, answer, subject)


def _problem(status: int, answer: Mapping[str, Any], subject: str) -> LightragctlError:
    """The API server's refusal in our words; the shape of `answer` is Kubernetes' `Status`."""
    message = str(answer.get("message", "")) or f"HTTP {status}"
    if "failed to create typed patch object" in message:  # an unknown field in server-side apply: answered with 500
        return _invalid(message, subject)
    match status:
        case 401:
            why = "the token or certificate of the kubeconfig's user has expired, or is of another cluster"
            hint = "log in again as your cluster's provider says, and see who you are: kubectl auth whoami"
            return ForbiddenError(f"the API server does not accept our credentials: {message}: {why}", hint)
        case 403:
            return _forbidden(message, subject)
        case 404:
            return LightragctlError(f"{subject}: {message}", "see what is there: lightragctl status")
        case 409:
            return _conflict(answer, message, subject)
        case 400 | 422:
            return _invalid(message, subject)
        case 429 | 500 | 502 | 503 | 504:
            return ClusterUnavailableError(f"the API server answers {status} on {subject}: {message}", "try again")
        case _:
            return LightragctlError(f"{subject}: HTTP {status}: {message}")


def _forbidden(message: str, subject: str) -> LightragctlError:
    """A 403 is a missing permission, a full quota or a policy; the server's own text tells which."""
    if "must support resize" in message:
        return ImmutableFieldError(f"{subject} is refused: {message}", "take the change of its size back")
    if "exceeded quota" in message:
        return LightragctlError(f"{subject}: {message}", "raise the quota, or lower what the profile asks for")
    if "violates PodSecurity" in message or "admission" in message:
        return LightragctlError(f"{subject} is refused by a policy of the cluster: {message}", "ask who runs it")
    return ForbiddenError(f"{subject}: {message}", "ask for the permission, or use another context: --context NAME")


def _conflict(answer: Mapping[str, Any], message: str, subject: str) -> LightragctlError:
    causes = (answer.get("details") or {}).get("causes") or []
    fields = [
        (str(cause.get("field", "")), _manager(str(cause.get("message", ""))))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if not fields:
        return ChangedMeanwhileError(f"{subject} was changed by somebody else: {message}", "run the command again")
    lines = "\n".join(f"    {path} is owned by {manager}" for path, manager in fields)
    hint = "take the fields over with --force-conflicts, or leave them out of the profile"
    return FieldConflictError(f"{subject} has fields of another manager:\n{lines}", hint, fields)


def _manager(text: str) -> str:
    """`conflict with "kubectl" using apps/v1` -> `kubectl`."""
    parts = text.split('"')
    return parts[1] if len(parts) > 2 else text


_IMMUTABLE = (
    "field is immutable",
    "updates to statefulset spec for fields other than",
    "spec is immutable after creation",  # of a volume claim
    "field can not be less than",  # its size
    "may not be changed in an update",  # of a PriorityClass
)
"""What the API server says of a field that cannot change. Nothing else is taken for that: a plan may delete objects."""


def _invalid(message: str, subject: str) -> InvalidObjectError:
    if any(words in message for words in _IMMUTABLE):
        hint = "this field cannot change while the object lives; take the change back, or down and up again"
        return ImmutableFieldError(f"{subject} is refused: {message}", hint)
    hint = "mend the profile or the template; see the object: lightragctl render"
    return InvalidObjectError(f"{subject} is refused: {message}", hint)
