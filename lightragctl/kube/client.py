"""The real cluster: the API server through the official client's connection, authentication and configuration.

Objects go in and out as plain maps; none of the client's model classes is loaded (they cost 0.3 s and forget fields
they do not know). Every call has a deadline and is repeated where the server is busy or the connection was lost
(`kube.calls`). May be used from several threads.
"""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.api_client import ApiClient
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.proxies import proxy_for
from lightragctl.core.urls import shown
from lightragctl.kube.calls import CALL_S, Answer, Caller, Request
from lightragctl.kube.model import (
    FIELD_MANAGER,
    ChangedMeanwhileError,
    ClusterUnavailableError,
    FieldConflictError,
    ForbiddenError,
    ImmutableFieldError,
    InvalidObjectError,
    KindNotServedError,
    NoClusterError,
    Resource,
    ResourceAttributes,
)

_DISCOVERY_S = 2.0
"""An API group whose backend is down returns 503 permanently, so there is no point in waiting."""
_SILENCE_S = 3600.0
"""How long a followed log may be silent before the connection is given up."""
_PAGE = 500
_CONNECTIONS = 16
"""Connections kept open to the API server, as many as concurrent calls of a rollout."""


class ClusterClient:
    """A `kube.model.Cluster` on an API server."""

    def __init__(self, api: ApiClient, name: str, calls: Caller | None = None) -> None:
        self._api = api
        self._name = name
        self._calls = calls or Caller(api, name)
        self._resources: dict[str, dict[str, Resource]] = {}
        self._discovering = threading.Lock()

    @property
    def requests(self) -> int:
        """Requests sent so far, for measurements."""
        return self._calls.requests

    @property
    def bytes_read(self) -> int:
        """Size of the bodies received so far, for measurements."""
        return self._calls.bytes_read

    @property
    def name(self) -> str:
        """See `Cluster`."""
        return self._name

    @property
    def through(self) -> str:
        """The proxy to the API server, as text; empty if there is none."""
        return self._calls.through

    @property
    def connection(self) -> ApiClient:
        """The official client's connection, for `kube.streams`."""
        return self._api

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """See `Cluster`. The kinds of a group are requested once."""
        with self._discovering:
            if api_version not in self._resources:
                self._resources[api_version] = self._discover(api_version)
        return self._resources[api_version].get(kind)

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        """See `Cluster`."""
        answer = self._calls.call(Request("GET", self._path(identity)))
        return None if answer.status == 404 else _checked(answer, str(identity))

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """See `Cluster`."""
        path = self._path(ObjectRef(api_version, kind, namespace, ""))
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            query = {"labelSelector": selector, "limit": str(_PAGE), **({"continue": more} if more else {})}
            page = _checked(self._calls.call(Request("GET", path, query)), f"{kind} in {namespace}")
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
        answer = self._calls.call(Request("PATCH", self._path(identity), query, thing))
        if _is_repeated_conflict(answer) and (landed := self._applied(thing, manager)):
            return landed
        return _checked(answer, str(identity))

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        identity = ref(thing)
        path = self._path(ObjectRef(identity.api_version, identity.kind, identity.namespace, ""))
        answer = self._calls.call(Request("POST", path, {"fieldManager": FIELD_MANAGER}, thing))
        return self._landed(answer, thing) or _checked(answer, str(identity))

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        """See `Cluster`."""
        answer = self._calls.call(Request("PUT", self._path(ref(thing)), {"fieldManager": FIELD_MANAGER}, thing))
        return self._landed(answer, thing) or _checked(answer, str(ref(thing)))

    def replace_part(self, thing: KubernetesObject, subresource: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Replace a subresource of the object with this resourceVersion, such as `ephemeralcontainers` of a pod.

        Raises:
            ChangedMeanwhileError: it has another resourceVersion.
        """
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        answer = self._calls.call(Request("PUT", f"{self._path(ref(thing))}/{subresource}", query, thing))
        return _checked(answer, f"{ref(thing)} {subresource}")

    def delete(
        self, identity: ObjectRef, uid: str, *, version: str = "", orphan: bool = False, grace_s: int | None = None
    ) -> bool:
        """See `Cluster`."""
        preconditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        grace = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        options = {"propagationPolicy": "Orphan" if orphan else "Background", "preconditions": preconditions, **grace}
        answer = self._calls.call(Request("DELETE", self._path(identity), body=options))
        if answer.status == 404:
            return answer.sent > 1  # an earlier attempt succeeded, but its response was lost
        if answer.status == 409 and not self._is_there(identity, uid):
            return False  # another object has its name by now
        _checked(answer, str(identity))
        return True

    def _is_there(self, identity: ObjectRef, uid: str) -> bool:
        there = self.get(identity)
        return there is not None and there["metadata"]["uid"] == uid

    def _landed(self, answer: Answer, thing: KubernetesObject) -> dict[str, Any] | None:
        """The live object if it is what we sent: an earlier attempt succeeded, but its response was lost."""
        there = self.get(ref(thing)) if _is_repeated_conflict(answer) else None
        return there if there is not None and includes(there, _unpinned(thing)) else None

    def _applied(self, thing: KubernetesObject, manager: str) -> dict[str, Any] | None:
        """The live object if applying again would change nothing, by a server-side dry run."""
        there = self.get(ref(thing))
        if there is None:
            return None
        try:
            predicted = self.apply(_unpinned(thing), dry_run=True, manager=manager)
        except LightragctlError:
            return None
        return there if _without_status(predicted) == _without_status(there) else None

    def allowed(self, access: ResourceAttributes) -> bool:
        """See `Cluster`."""
        wanted = {"verb": access.verb, "group": access.group, "resource": access.resource}
        attributes = {**wanted, "namespace": access.namespace, "subresource": access.subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._calls.call(Request("POST", path, body=review))
        return bool(_checked(answer, str(access))["status"]["allowed"])

    def log(  # noqa: PLR0913 - options of the API
        self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool, since_s: int = 0
    ) -> Iterator[str]:
        """See `Cluster`."""
        flags = {"follow": str(follow).lower(), "previous": str(previous).lower(), "tailLines": str(tail_lines)}
        flags |= {"sinceSeconds": str(since_s)} if since_s else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log"
        try:
            response = self._calls.open(Request("GET", path, flags), _SILENCE_S if follow else CALL_S)
            if response.status != 200:
                refusal = Answer(response.status, {"message": response.data.decode("utf-8", "replace").strip()})
                raise _problem(refusal, f"Pod/{pod}")
        except urllib3.exceptions.HTTPError as error:
            raise self._calls.no_answer(error) from error
        rest = b""
        try:
            for piece in response.stream(65536):
                self._calls.bytes_read += len(piece)
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except urllib3.exceptions.HTTPError as error:
            raise self._calls.no_answer(error) from error
        finally:
            response.release_conn()
        if rest:
            yield rest.decode("utf-8", "replace")

    def _discover(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{api_version}" if group else f"/api/{version}"
        answer = self._calls.call(Request("GET", path), _DISCOVERY_S if group else CALL_S)
        if answer.status == 404:
            return {}
        listed = _checked(answer, api_version)["resources"]
        return {
            one["kind"]: Resource(group, version, one["name"], one["namespaced"])
            for one in listed
            if "/" not in one["name"]
        }

    def _path(self, identity: ObjectRef) -> str:
        """The URL path of an object, or without a name of its kind."""
        resource = self.resource(identity.api_version, identity.kind)
        if resource is None:
            raise KindNotServedError(
                f"cluster {self._name} does not serve {identity.kind} of {identity.api_version}",
                "install the operator or CRD that provides it, or upgrade Kubernetes",
            )
        root = f"/apis/{identity.api_version}" if resource.group else f"/api/{identity.api_version}"
        inside = f"/namespaces/{quote(identity.namespace)}" if resource.namespaced else ""
        return f"{root}{inside}/{resource.plural}" + (f"/{quote(identity.name)}" if identity.name else "")


def connect(kubeconfig: Path | None, context: str | None) -> ClusterClient:
    """The cluster of a kubeconfig's context; without a kubeconfig and inside a pod, the pod's own cluster.

    Raises:
        NoClusterError: there is no kubeconfig, it cannot be read or it lacks the context.
    """
    file = str(kubeconfig) if kubeconfig else None
    configuration = Configuration(proxy="", no_proxy="")  # else the client applies its own rules to the environment
    try:
        contexts, active = list_kube_config_contexts(file)
        name = context or active["name"]
        if name not in [one["name"] for one in contexts]:
            known = ", ".join(sorted(one["name"] for one in contexts))
            raise NoClusterError(f"the kubeconfig has no context '{name}'", f"contexts: {known}")
        load_kube_config(file, name, client_configuration=configuration)
    except ConfigException as error:
        if kubeconfig is None and context is None and (inside := _inside_pod()):
            return inside
        hint = "set --kubeconfig FILE or KUBECONFIG; without a cluster, use --profile local"
        raise NoClusterError(f"no usable kubeconfig: {error}", hint) from error
    return _client(configuration, name)


def _inside_pod() -> ClusterClient | None:
    configuration = Configuration(proxy="", no_proxy="")
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException:
        return None
    return _client(configuration, "in-cluster")


def _client(configuration: Configuration, name: str) -> ClusterClient:
    """The cluster of a configuration; its proxy is the kubeconfig's `proxy-url`, else from the environment."""
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.retries = False  # urllib3 would retry three times and obey any Retry-After
    _set_proxy(configuration, configuration.proxy or proxy_for(configuration.host) or "")
    try:
        return ClusterClient(ApiClient(configuration), name)
    except ImportError as error:
        message = f"the kubeconfig's proxy-url {shown(configuration.proxy)} is a SOCKS proxy: {error}"
        raise NoClusterError(message, "pip install pysocks, or use an HTTP proxy") from error


_NO_HOST = "-"


def _set_proxy(configuration: Configuration, proxy: str) -> None:
    """Set the proxy of requests and websockets; empty: none.

    The client's websockets use the environment's proxy unless both settings are set.
    """
    parts = urlsplit(proxy)
    userinfo, _, place = parts.netloc.rpartition("@")
    configuration.proxy = urlunsplit((parts.scheme, place, "", "", "")) if proxy else configuration.host
    configuration.no_proxy = _NO_HOST if proxy else "*"
    if userinfo:
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=unquote(userinfo))


_VOLATILE = ("resourceVersion", "uid", "generation", "managedFields", "creationTimestamp")


def _is_repeated_conflict(answer: Answer) -> bool:
    return answer.status == 409 and answer.sent > 1


def _unpinned(thing: KubernetesObject) -> dict[str, Any]:
    """The object without its preconditions and other metadata that the server sets."""
    return {**thing, "metadata": {key: value for key, value in thing["metadata"].items() if key not in _VOLATILE}}


def _without_status(thing: KubernetesObject) -> dict[str, Any]:
    return {key: value for key, value in _unpinned(thing).items() if key != "status"}


def includes(there: object, sent: object) -> bool:
    """Whether `there` contains everything in `sent`; the server may have added fields."""
    if isinstance(there, Mapping) and isinstance(sent, Mapping):
        return all(key in there and includes(there[key], value) for key, value in sent.items())
    return there == sent


def _checked(answer: Answer, subject: str) -> dict[str, Any]:
    if answer.status < 300:
        return answer.content
    raise _problem(answer, subject)


def _problem(answer: Answer, subject: str) -> LightragctlError:
    """The error of a rejected request; the response is a Kubernetes `Status`."""
    status = answer.status
    message = str(answer.content.get("message", "")) or f"HTTP {status}"
    if "failed to create typed patch object" in message:  # an unknown field in server-side apply, which returns 500
        return _invalid(message, subject)
    match status:
        case 401:
            why = "the token or certificate of the kubeconfig's user has expired or is for another cluster"
            hint = "log in to the cluster again; check your identity: kubectl auth whoami"
            return ForbiddenError(f"the API server rejects the credentials: {message}: {why}", hint)
        case 403:
            return _forbidden(message, subject)
        case 404:
            return LightragctlError(f"{subject}: {message}", Hint("see the release: ", Command("status")))
        case 409:
            return _conflict(answer.content, message, subject)
        case 400 | 422:
            return _invalid(message, subject)
        case 429 | 500 | 502 | 503 | 504:
            retry = f" (Retry-After: {answer.retry_after_s:g} s)" if answer.retry_after_s else ""
            return ClusterUnavailableError(
                f"the API server returns {status} for {subject}: {message}{retry}", "retry later"
            )
        case _:
            return LightragctlError(f"{subject}: HTTP {status}: {message}")


def _forbidden(message: str, subject: str) -> LightragctlError:
    """A 403 is a missing permission, an exceeded quota or a policy, by the server's message."""
    if "must support resize" in message:
        return ImmutableFieldError(f"{subject} is rejected: {message}", "revert the change of its size")
    if "exceeded quota" in message:
        return LightragctlError(f"{subject}: {message}", "raise the quota, or lower the requests of the profile")
    if "violates PodSecurity" in message or "admission" in message:
        return LightragctlError(f"{subject} is rejected by a cluster policy: {message}", "ask the administrator")
    return ForbiddenError(f"{subject}: {message}", "request the permission, or use another context: --context NAME")


def _conflict(answer: Mapping[str, Any], message: str, subject: str) -> LightragctlError:
    causes = (answer.get("details") or {}).get("causes") or []
    fields = [
        (str(cause.get("field", "")), _manager(str(cause.get("message", ""))))
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if not fields:
        return ChangedMeanwhileError(f"{subject} was changed by another process: {message}", "retry")
    lines = "\n".join(f"    {path} is owned by {manager}" for path, manager in fields)
    hint = "overwrite the fields with --force-conflicts, or omit them in the profile"
    return FieldConflictError(f"{subject} has fields that other managers own:\n{lines}", hint, fields)


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
"""The API server's messages for immutable fields. The list is strict, as a replacement deletes the object."""


def _invalid(message: str, subject: str) -> InvalidObjectError:
    if any(words in message for words in _IMMUTABLE):
        hint = Hint(
            "the field is immutable: revert the change, or recreate the release: ", Command("down"), ", ", Command("up")
        )
        return ImmutableFieldError(f"{subject} is rejected: {message}", hint)
    hint = Hint("fix the profile or the template; see the object: ", Command("render"))
    return InvalidObjectError(f"{subject} is rejected: {message}", hint)
