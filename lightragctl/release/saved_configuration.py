"""The configuration saved with a workspace's data: profile, versions and embedding models of its release."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import lightragctl
from lightragctl.core.errors import LightragctlError
from lightragctl.core.plain import plain
from lightragctl.core.runtime import AppliedRelease, NeededSecret, images_of
from lightragctl.vectors.control import control_name, when_loaded
from lightragctl.vectors.model import CollectionMissingError, Page
from lightragctl.vectors.store import VectorStore

SCHEMA = "lightragctl/configuration/v1"
_MODELS, _MODELS_END = "model:", "model;"
_PAGE_ROWS = 1000


def configuration(release: str, applied: AppliedRelease, versions: Mapping[str, str]) -> dict[str, Any]:
    """The configuration as one JSON document. It holds values of secrets only where `applied` does.

    Args:
        release: its name.
        applied: what it was last made.
        versions: of Milvus and LightRAG, as they said themselves.
    """
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "release": release,
            "profile_name": applied.profile_name,
            "values": applied.values,
            "settings": applied.settings,
            "objects": applied.objects,
            "versions": {"lightragctl": lightragctl.__version__, **versions},
            "images": images_of(applied.objects),
            "secrets": [asdict(one) for one in applied.secrets],
            **({"secret_values": applied.secret_values} if applied.secret_values else {}),
        }
    )
    return document


def to_recreate(document: Mapping[str, Any]) -> list[NeededSecret]:
    """The secrets of a saved configuration that must be created before its release is deployed.

    Left out are those whose values it holds, and those that `up` generates; clients need the new values of the latter.

    Raises:
        LightragctlError: the document is of another version.
    """
    if document.get("schema") != SCHEMA:
        raise LightragctlError(f"the saved configuration is of schema {document.get('schema')!r}, not {SCHEMA}")
    held = document.get("secret_values") or {}
    needed = [
        NeededSecret(one["name"], tuple(one["keys"]), tuple(one["generated"])) for one in document.get("secrets") or ()
    ]
    return [
        one for one in needed if one.name not in held and not (one.generated and set(one.keys) <= set(one.generated))
    ]


def secret_manifests(document: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    """The Secrets whose values a saved configuration of a cluster holds, as Kubernetes objects."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Opaque",
            "data": dict(values),
        }
        for name, values in sorted((document.get("secret_values") or {}).items())
        if "" not in values
    ]


def secret_variables(document: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables whose values a saved configuration of a local release holds."""
    held = document.get("secret_values") or {}
    return {name: base64.b64decode(values[""]).decode() for name, values in held.items() if "" in values}


def model_identities(store: VectorStore, workspace: str) -> dict[str, dict[str, Any]]:
    """The embedding models that the workspace's vectors came from, by the suffix of their collections."""
    control = control_name(workspace)
    page = Page(after=_MODELS, before=_MODELS_END, limit=_PAGE_ROWS)
    try:
        rows = when_loaded(store, control, lambda: store.scan(control, ["value"], page))
    except CollectionMissingError:
        return {}
    return {str(row["id"]).removeprefix(_MODELS): json.loads(str(row["value"])) for row in rows}
