"""The profile model and its validation messages. Pure."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from lightragctl.core.backup import Backup
from lightragctl.core.bounds import ImageRepository, ImageTag, check_name
from lightragctl.core.diagnosis import Diagnosis
from lightragctl.core.errors import ProfileError
from lightragctl.core.gates import UpgradeSettings
from lightragctl.core.hint import Command, Hint
from lightragctl.core.layers import DEFAULT, KeyPath, Layer, Origin, dotted, quoted
from lightragctl.core.lifecycle import IndexLifecycle
from lightragctl.core.placement import NetworkPolicySettings, NodePool, unset
from lightragctl.core.quantity import quantity
from lightragctl.core.scalars import kind_of
from lightragctl.core.settings import (
    Address,
    Chunking,
    EmbeddingModel,
    Index,
    Quantity,
    ResourceAmounts,
    SecretRef,
    StrictModel,
    Workspace,
)

Sections = Mapping[str, type[BaseModel]]
"""The model of each component's section, by component name."""

DNS_LABEL = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
"""Release names and namespaces: a DNS label of at most 40, so that `RELEASE-COMPONENT` fits into 63."""


def is_dns_label(text: str) -> bool:
    """Whether a string is a valid name of a release or namespace."""
    return re.fullmatch(DNS_LABEL, text) is not None


class Runtime(StrEnum):
    """Where a release runs."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class ServedModel(StrictModel):
    """Where a model is served: at `url`, or by `server`, a server of the component model-server."""

    url: Address | None = None
    server: str | None = None
    api_key: SecretRef | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "ServedModel":
        if self.url and self.server:
            raise ValueError("set url or server, not both")
        if self.url and not self.url.startswith(("http://", "https://", "<")):  # `<`: what a draft has in its place
            raise ValueError(f"url must begin with http:// or https://, got '{self.url}'")
        return self


class EmbeddingEndpoint(EmbeddingModel, ServedModel):
    """The embedding model; by default served by the release's own embedder."""


class ChatEndpoint(ServedModel):
    """The chat model; by default served by the release's own mock-llm."""

    name: str = "mock-llm"


class Models(StrictModel):
    """The models that the release uses."""

    embedding: EmbeddingEndpoint = EmbeddingEndpoint()
    chat: ChatEndpoint = ChatEndpoint()


class Image(StrictModel):
    """The image of our own components on Kubernetes."""

    repository: ImageRepository = "lightragctl"
    tag: ImageTag = "latest"
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"


class RunAs(StrictModel):
    """User and group ids of every pod of the release; `fs_group` owns its volumes."""

    user: Annotated[int, Field(ge=1)] = 1000
    group: Annotated[int, Field(ge=1)] = 1000
    fs_group: Annotated[int, Field(ge=1)] = 1000

    def rendered(self) -> dict[str, Any]:
        """The pod's security context; large volumes are not chowned at each start."""
        ids = {"runAsUser": self.user, "runAsGroup": self.group, "fsGroup": self.fs_group}
        return {**ids, "fsGroupChangePolicy": "OnRootMismatch"}


class LocalOptions(StrictModel):
    """The local runtime. `port_offset` is added to every port, so that a second release fits beside the first."""

    port_offset: Annotated[int, Field(ge=0, le=40000)] = 0


class Quota(StrictModel):
    """The ResourceQuota of the release's namespace; omitted resources are unlimited."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    limits_cpu: Quantity | None = None
    limits_memory: Quantity | None = None
    storage: Quantity | None = None
    claims: Annotated[int, Field(ge=0)] | None = None
    pods: Annotated[int, Field(ge=1)] | None = None

    def hard(self) -> dict[str, str]:
        """The bounds as keys of a ResourceQuota."""
        names = {
            "requests.cpu": self.cpu,
            "requests.memory": self.memory,
            "limits.cpu": self.limits_cpu,
            "limits.memory": self.limits_memory,
            "requests.storage": self.storage,
            "persistentvolumeclaims": self.claims,
            "pods": self.pods,
        }
        return {name: str(value) for name, value in names.items() if value is not None}


class LimitRange(StrictModel):
    """Default requests and limits of containers in the namespace (LimitRange)."""

    default_request: ResourceAmounts
    default: ResourceAmounts

    @model_validator(mode="after")
    def _requests_fit(self) -> "LimitRange":
        for name in ("cpu", "memory"):
            request, limit = getattr(self.default_request, name), getattr(self.default, name)
            if quantity(request) > quantity(limit):
                raise ValueError(f"default_request.{name} {request} is above default.{name} {limit}")
        return self


class IgnoreRule(StrictModel):
    """Fields that other managers may change: `path` as in `status`, including its children; `name`: one object."""

    kind: str
    name: str | None = None
    path: Annotated[str, Field(min_length=1)]


class DriftPolicy(StrictModel):
    """Drift to ignore: it is neither reported nor reverted."""

    ignore: tuple[IgnoreRule, ...] = ()


class Profile(StrictModel):
    """The whole profile.

    `production`: refuses settings that are only for trials. `zones`: over how many zones
    it is spread. `pod_security`: the level that the namespace enforces. `run_as`: null where the cluster assigns ids to
    pods, as OpenShift does. `priorities`: PriorityClasses of the release
    by the name that components have for them, with their values. `site`: dotted keys that the profile leaves to its
    user, each with what to put there; null takes one back.
    """

    description: str = ""
    runtime: Runtime
    production: bool = False
    zones: Annotated[int, Field(ge=1, le=9)] = 1
    pod_security: Literal["privileged", "baseline", "restricted"] | None = None
    run_as: RunAs | None = RunAs()
    priorities: dict[str, Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]] | None = None
    pools: dict[str, NodePool] | None = None
    network: NetworkPolicySettings | None = None
    site: dict[str, str | None] | None = None
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] = "lightrag"
    workspace: Workspace = "default"
    models: Models = Models()
    chunking: Chunking = Chunking()
    index: Index = Index()
    image: Image = Image()
    local: LocalOptions = LocalOptions()
    quota: Quota | None = None
    limit_range: LimitRange | None = None
    drift: DriftPolicy = DriftPolicy()
    backup: Backup = Backup()
    lifecycle: IndexLifecycle = IndexLifecycle()
    diagnose: Diagnosis = Diagnosis()
    upgrade: UpgradeSettings = UpgradeSettings()
    components: dict[str, Any]

    @field_validator("priorities")
    @classmethod
    def _name_objects(cls, priorities: dict[str, int] | None) -> dict[str, int] | None:
        for name in priorities or {}:
            check_name(name)
        return priorities

    @field_validator("components")
    @classmethod
    def _some_component(cls, components: dict[str, Any]) -> dict[str, Any]:
        if not components:
            raise ValueError("a profile needs at least one component")
        return components


@dataclass(frozen=True)
class LoadedProfile:
    """A checked profile and the origin of each of its keys."""

    name: str
    profile: Profile
    origins: Mapping[KeyPath, Origin]

    def leaves(self) -> Iterator[tuple[KeyPath, Any, Origin]]:
        """Every value with its path and origin, sorted by path."""
        for path, value in sorted(_leaves(self.profile.model_dump(mode="json"))):
            yield path, value, self.origins.get(path, DEFAULT)


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path, value


def check(name: str, layer: Layer, sections: Sections, blanks: Collection[str] = ()) -> LoadedProfile:
    """The merged layer as a typed profile.

    Args:
        name: of the profile.
        layer: its values.
        sections: the models of the components' sections.
        blanks: texts that stand for values that are not there yet, and need not fit.

    Raises:
        ProfileError: a key is unknown or a value does not fit; the message names each with file and line. Or values
            that the profile leaves to its user are missing; the message names them all.
    """
    if missing := unset(layer.values):
        raise _asks_for(name, missing, layer.origins.get(("site",), DEFAULT))
    problems: list[str] = []
    values = dict(layer.values)
    components = values.get("components")
    if isinstance(components, dict):
        values["components"] = {
            part: _check_section(str(part), section, _Checks(layer.origins, sections, blanks, problems))
            for part, section in components.items()
        }
    try:
        profile = Profile.model_validate(values, context=blanks)
    except ValidationError as error:
        problems = [*_explained(error, values, (), Profile, layer.origins), *problems]
    if problems:
        raise ProfileError("\n".join(problems), Hint("see every key: ", Command("profiles show", "--origin")))
    return LoadedProfile(name, profile, layer.origins)


def _asks_for(name: str, missing: Mapping[str, str], asked: Origin) -> ProfileError:
    width = max(len(key) for key in missing)
    lines = "\n".join(f"    {key:<{width}}  {what}" for key, what in missing.items())
    base = asked.source.removeprefix("profiles/").removesuffix(".yaml")
    return ProfileError(
        f"profile '{name}' needs {len(missing)} values that are specific to your site:\n{lines}",
        Hint(
            "put them into the profile, a file for --values, or --set KEY=VALUE; a profile to fill in: ",
            Command("profiles init", f"mine --extends {base}"),
        ),
    )


@dataclass(frozen=True)
class _Checks:
    """The inputs of the check of each component's section, and the problems found."""

    origins: Mapping[KeyPath, Origin]
    sections: Sections
    blanks: Collection[str]
    problems: list[str]


def _check_section(part: str, section: Any, checks: _Checks) -> BaseModel | None:
    path, model = ("components", part), checks.sections.get(part)
    if model is None:
        checks.problems.append(_unknown(path, checks.sections, checks.origins))
        return None
    try:
        return model.model_validate({} if section is None else section, context=checks.blanks)
    except ValidationError as error:
        checks.problems.extend(_explained(error, section, path, model, checks.origins))
        return None


def _explained(
    error: ValidationError, values: Any, prefix: KeyPath, model: type[BaseModel], origins: Mapping[KeyPath, Origin]
) -> list[str]:
    """Each problem as a message. Of a union type, the alternative that matched furthest is reported."""
    found = [(_keys(problem["loc"], values), problem) for problem in error.errors()]
    paths = [path for path, _ in found]
    return [
        _explain(problem, path, prefix, model, origins)
        for path, problem in found
        if not any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    ]


def _keys(steps: Sequence[int | str], values: Any) -> KeyPath:
    """The keys among pydantic's steps to a problem, without those that name a type; the last may be missing."""
    path: list[str] = []
    for step in steps:
        is_there = isinstance(values, Mapping) and step in values
        if is_there or (isinstance(values, list) and isinstance(step, int)):
            values = values[step]
            path.append(str(step))
        elif isinstance(values, Mapping) and str(step).islower() and "[" not in str(step):
            path.append(str(step))
            values = None
    return tuple(path)


def _explain(
    problem: Any, path: KeyPath, prefix: KeyPath, model: type[BaseModel], origins: Mapping[KeyPath, Origin]
) -> str:
    path = prefix + path
    if problem["type"] == "extra_forbidden":
        return _unknown(path, _fields_at(model, path[len(prefix) : -1]), origins)
    where = _nearest_origin(path, origins)
    written = origins[path].written if path in origins else None
    return f"{where}: {dotted(path)}: {_wrong(problem, path, written)}"


_EXPECTED = {
    "string_type": "expected a string",
    "int_type": "expected an integer",
    "int_parsing": "expected an integer",
    "int_from_float": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "model_type": "expected a map",
    "model_attributes_type": "expected a map",
    "dict_type": "expected a map",
    "tuple_type": "expected a list",
    "missing": "a value is required",
}
"""The expected type, by pydantic's error type."""


def _wrong(problem: Any, path: KeyPath, written: str | None) -> str:
    """A message: the expected type, what was read, and how to write a string."""
    value, kind = problem["input"], problem["type"]
    if kind not in _EXPECTED:
        message = str(problem["msg"]).removeprefix("Value error, ")
        is_complete = kind == "value_error" or isinstance(value, Mapping)
        return message if is_complete else f"{message}, got {kind_of(value)}"
    if kind == "missing":
        return _EXPECTED[kind]
    message = f"{_EXPECTED[kind]}, got {kind_of(value)}"
    if kind == "string_type" and value is not None and not isinstance(value, Mapping | list | tuple):
        return f"{message}; for a string write {quoted(path, written or str(value))}"
    return message


def _unknown(path: KeyPath, known: Mapping[str, Any], origins: Mapping[KeyPath, Origin]) -> str:
    near = difflib.get_close_matches(path[-1], list(known), n=1, cutoff=0.5)
    advice = f"; did you mean '{near[0]}'?" if near else f"; known keys: {', '.join(sorted(known))}"
    return f"{_nearest_origin(path, origins)}: unknown key '{dotted(path)}'{advice}"


def _nearest_origin(path: KeyPath, origins: Mapping[KeyPath, Origin]) -> Origin:
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return Origin("profile")


def _fields_at(model: type[BaseModel], path: KeyPath) -> Mapping[str, Any]:
    """The fields of the model at `path` inside `model`; steps that are not fields are keys of maps."""
    for step in path:
        if step in model.model_fields:
            inner = _model_in(model.model_fields[step].annotation)
            if inner is None:
                return {}
            model = inner
    return model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a field, also inside a union or as the values of a map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)
