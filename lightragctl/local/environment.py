"""The environment variables that `up` hands to the processes of a local release. Pure.

The supervisor lives as long as the release, so its own environment is that of the first `up`. Each `up` therefore
passes the current values of the secrets that the settings name, and the proxy and certificate variables.
"""

import hashlib
import hmac
from collections.abc import Mapping

from lightragctl.core.component import Plan
from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import secret_references
from lightragctl.local.files import Environments

NETWORK_VARIABLES = frozenset(
    [
        *(name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")),
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ]
)
"""How a process reaches servers outside the release: only components that call others get these."""

Variables = Mapping[str, str]


def secret_variables(settings: object) -> list[str]:
    """The environment variables that hold the secrets of the settings."""
    return [reference.env for _, reference in secret_references(settings) if reference.env is not None]


def secret_files(settings: object) -> list[str]:
    """The files that hold the secrets of the settings."""
    return [reference.file for _, reference in secret_references(settings) if reference.file is not None]


def collect_environments(
    plan: Plan, settings: Mapping[str, object], environ: Variables, before: Environments
) -> Environments:
    """The variables of each process: secrets from `environ`, else from the previous `up`; proxies and certificates.

    Args:
        plan: the release.
        settings: the settings of each process by the component's name.
        environ: the environment of the command.
        before: the environments that the previous `up` passed.
    """
    processes: dict[str, dict[str, str]] = {}
    for name, given in settings.items():
        kept = before.processes.get(name, {})
        secrets = {key: environ.get(key, kept.get(key)) for key in secret_variables(given)}
        component = plan.components[name]
        network = NETWORK_VARIABLES & environ.keys() if component.requires or component.calls else frozenset()
        processes[name] = {
            **{key: environ[key] for key in sorted(network)},
            **{key: value for key, value in sorted(secrets.items()) if value is not None},
        }
    return Environments(salt=before.salt, processes=processes)


def require_secrets(settings: Mapping[str, object], environments: Environments) -> None:
    """Refuse a release whose processes would start without a secret that they need.

    Raises:
        RefusedError: an environment variable that a component's settings name is not set, or is empty.
    """
    for name, given in settings.items():
        values = environments.processes.get(name, {})
        for variable in secret_variables(given):
            if not values.get(variable, "").strip():
                state = "is empty" if variable in values else "is not set"
                raise RefusedError(
                    f"{name} reads a secret from the environment variable {variable}, which {state}",
                    f"set it and run the command again: export {variable}=...",
                )


def fingerprint(variables: Variables, salt: str) -> str:
    """A keyed hash of the variables: it changes with them and reveals nothing without the salt."""
    text = "\0".join(f"{name}={value}" for name, value in sorted(variables.items()))
    return hmac.new(salt.encode(), text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def process_environment(own: Variables, environments: Variables) -> dict[str, str]:
    """The environment of a process: the supervisor's own, with the variables of the release's last `up`."""
    return {**{name: value for name, value in own.items() if name not in NETWORK_VARIABLES}, **environments}
