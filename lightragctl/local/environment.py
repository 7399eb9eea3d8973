"""The environment variables that `up` hands to the processes of a local release. Pure.

The supervisor lives as long as the release, so its own environment is that of the first `up`. What a process must see
as it is now, the secrets that its settings name and the way out to other people's servers, is handed over by each `up`.
"""

import hashlib
import hmac
from collections.abc import Mapping

from lightragctl.core.component import Plan
from lightragctl.core.errors import RefusedError
from lightragctl.core.settings import secret_references
from lightragctl.local.files import HandedOver

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
    """The environment variables that hold the secrets which the settings refer to."""
    return [reference.env for _, reference in secret_references(settings) if reference.env is not None]


def secret_files(settings: object) -> list[str]:
    """The files that hold the secrets which the settings refer to."""
    return [reference.file for _, reference in secret_references(settings) if reference.file is not None]


def hand_over(plan: Plan, settings: Mapping[str, object], environ: Variables, before: HandedOver) -> HandedOver:
    """What each process gets: secrets from `environ`, or as handed over before where it is not set; and the way out.

    Args:
        plan: the release.
        settings: the settings of each process by the component's name.
        environ: the environment of the command.
        before: what the previous `up` handed over.
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
    return HandedOver(salt=before.salt, processes=processes)


def require_secrets(settings: Mapping[str, object], handed: HandedOver) -> None:
    """Refuse a release whose processes would start without a secret that they need.

    Raises:
        RefusedError: an environment variable that a component's settings name is not set, or is empty.
    """
    for name, given in settings.items():
        values = handed.processes.get(name, {})
        for variable in secret_variables(given):
            if not values.get(variable, "").strip():
                state = "is empty" if variable in values else "is not set"
                raise RefusedError(
                    f"{name} reads a secret from the environment variable {variable}, which {state}",
                    f"set it and run the command again: export {variable}=...",
                )


def fingerprint(variables: Variables, salt: str) -> str:
    """A keyed hash of the variables: it changes with them and tells nothing about them without the salt."""
    text = "\0".join(f"{name}={value}" for name, value in sorted(variables.items()))
    return hmac.new(salt.encode(), text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def process_environment(own: Variables, handed: Variables) -> dict[str, str]:
    """The environment of a process: the supervisor's own with the way out and the secrets that were handed over."""
    return {**{name: value for name, value in own.items() if name not in NETWORK_VARIABLES}, **handed}
