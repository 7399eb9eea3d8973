"""A revision as ConfigMaps: an index with metadata, and its objects, compressed, in the index or in chunks. Pure.

Values of Secrets are not stored; a revision has a reference to the Secret and key instead.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Revision, RevisionOutcome
from lightragctl.kube.labels import CHUNK_OF, MANAGED_BY, MANAGER, REVISION_OF

SCHEMA = 1
CHUNK_BYTES = 600 * 1024
"""Compressed objects per ConfigMap: 800 KiB as base64; the API server limits a ConfigMap to 1 MiB."""
KEEP = 10
"""As helm's default."""
_INDEX, _OBJECTS = "revision.json", "objects.json.gz"
_IN_SECRET = "lightragctl/in-secret:"


def revision_ref(release: str, namespace: str, number: int, chunk: int | None = None) -> ObjectRef:
    """The ConfigMap of a revision's index, or of one of its chunks."""
    part = "" if chunk is None else f"-{chunk}"
    return ObjectRef("v1", "ConfigMap", namespace, f"{release}-lightragctl-r{number}{part}")


def to_config_maps(revision: Revision, release: str, namespace: str) -> list[dict[str, Any]]:
    """The revision as ConfigMaps in write order: chunks first, the index last."""
    packed = gzip.compress(_text([redacted(one) for one in revision.objects]).encode(), mtime=0)
    pieces = [packed[start : start + CHUNK_BYTES] for start in range(0, len(packed), CHUNK_BYTES)]
    document = {
        "schema": SCHEMA,
        "number": revision.number,
        "who": revision.who,
        "at": revision.at,
        "version": revision.version,
        "profile_name": revision.profile_name,
        "values": dict(revision.values),
        "outcome": str(revision.outcome),
        "cause": revision.cause,
        "description": revision.description,
        "requires": {name: list(needs) for name, needs in revision.requires.items()},
        "chunks": len(pieces) if len(pieces) > 1 else 0,
        **({"stopped": [revision.stopped_at, revision.stopped_by]} if revision.stopped_at else {}),
    }
    chunks = []
    for number, piece in enumerate(pieces if len(pieces) > 1 else ()):
        identity = revision_ref(release, namespace, revision.number, number)
        chunks.append(_config_map(identity, {CHUNK_OF: release}, {}, piece))
    index = revision_ref(release, namespace, revision.number)
    whole = pieces[0] if len(pieces) == 1 else b""
    return [*chunks, _config_map(index, {REVISION_OF: release}, {_INDEX: _text(document)}, whole)]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _config_map(
    identity: ObjectRef, labels: Mapping[str, str], data: Mapping[str, str], packed: bytes
) -> dict[str, Any]:
    metadata = {
        "name": identity.name,
        "namespace": identity.namespace,
        "labels": {MANAGED_BY: MANAGER, **labels},
    }
    binary = {"binaryData": {_OBJECTS: base64.b64encode(packed).decode()}} if packed else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data), **binary}


def chunk_count(index: KubernetesObject) -> int:
    """The number of chunks of the index.

    Raises:
        LightragctlError: it is damaged.
    """
    return int(_document(index)["chunks"])


def from_config_maps(index: KubernetesObject, chunks: Sequence[KubernetesObject] = ()) -> Revision:
    """The revision of an index and its chunks in order; without the chunks, it has no objects.

    Raises:
        LightragctlError: it is damaged, or a newer lightragctl wrote it.
    """
    document = _document(index)
    try:
        parts = list(chunks) if document["chunks"] else [index]
        packed = b"".join(base64.b64decode(one["binaryData"][_OBJECTS]) for one in parts)
        objects = json.loads(gzip.decompress(packed)) if packed else []
        stopped_at, stopped_by = document.get("stopped", ("", ""))
        return Revision(
            number=document["number"],
            who=document["who"],
            at=document["at"],
            version=document["version"],
            profile_name=document["profile_name"],
            values=document["values"],
            outcome=RevisionOutcome(document["outcome"]),
            cause=document["cause"],
            description=document["description"],
            requires={name: tuple(needs) for name, needs in document["requires"].items()},
            objects=tuple(objects),
            stopped_at=stopped_at,
            stopped_by=stopped_by,
        )
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise _damaged(index, error) from error


def _document(index: KubernetesObject) -> dict[str, Any]:
    try:
        document = dict(json.loads(index["data"][_INDEX]))
        newer = document["schema"] > SCHEMA
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(index, error) from error
    if newer:
        message = f"ConfigMap/{index['metadata']['name']} was written by a newer lightragctl, {document.get('version')}"
        raise LightragctlError(message, "install that version or a later one")
    return document


def _damaged(index: KubernetesObject, error: Exception) -> LightragctlError:
    metadata = index["metadata"]
    message = f"ConfigMap/{metadata['name']} in {metadata.get('namespace')} is not a valid revision: {error}"
    return LightragctlError(message, "restore it, or delete it; only this revision is lost")


def with_current_outcomes(revisions: Iterable[Revision], applying: int | None) -> list[Revision]:
    """The revisions newest first, with their current outcomes.

    Args:
        revisions: as they were written.
        applying: the number of the revision that is being applied now.
    """
    newest_first = sorted(revisions, key=lambda one: one.number, reverse=True)
    made, applied = [], False
    for one in newest_first:
        outcome = one.outcome
        if outcome is RevisionOutcome.APPLYING and one.number != applying:
            outcome = RevisionOutcome.INTERRUPTED
        if outcome is RevisionOutcome.APPLIED:
            outcome, applied = (RevisionOutcome.SUPERSEDED if applied else outcome), True
        made.append(replace(one, outcome=outcome))
    return made


def expired_revisions(revisions: Iterable[Revision]) -> list[int]:
    """Numbers of the revisions beyond `KEEP`; the newest applied one always stays."""
    newest_first = sorted(revisions, key=lambda one: one.number, reverse=True)
    good = next((one.number for one in newest_first if one.outcome is RevisionOutcome.APPLIED), None)
    return [one.number for one in newest_first[KEEP:] if one.number != good]


def rollback_revision(revisions: Sequence[Revision], number: int | None) -> Revision:
    """The revision to roll back to: the one of this number, or the newest applied one before the present.

    Raises:
        RefusedError: there is none.
    """
    known = ", ".join(str(one.number) for one in sorted(revisions, key=lambda one: one.number)) or "none"
    hint = Hint(f"revisions: {known}; see them: ", Command("history"))
    if number is not None:
        found = next((one for one in revisions if one.number == number), None)
        if found is None:
            raise RefusedError(f"revision {number} does not exist", hint)
        return found
    present = max((one.number for one in revisions), default=0)
    good = [one for one in revisions if one.number < present and one.outcome is RevisionOutcome.APPLIED]
    if not good:
        raise RefusedError("there is no earlier applied revision", hint)
    return max(good, key=lambda one: one.number)


def redacted(thing: KubernetesObject) -> dict[str, Any]:
    """The object with each value of a Secret replaced by a reference to its Secret and key."""
    if thing["kind"] != "Secret":
        return dict(thing)
    parts = {part: thing[part] for part in ("data", "stringData") if isinstance(thing.get(part), Mapping)}
    rest = {key: value for key, value in thing.items() if key not in parts}
    keys = [key for values in parts.values() for key in values]
    if not keys:
        return rest
    return {**rest, "data": {key: f"{_IN_SECRET}{thing['metadata']['name']}/{key}" for key in sorted(keys)}}


def with_secrets(thing: KubernetesObject, live: Mapping[ObjectRef, KubernetesObject]) -> dict[str, Any]:
    """The object of a revision with the current values of its Secret.

    Raises:
        RefusedError: the Secret or a key is gone.
    """
    if thing["kind"] != "Secret" or not thing.get("data"):
        return dict(thing)
    there = (live.get(ref(thing)) or {}).get("data") or {}
    missing = [key for key in thing["data"] if key not in there]
    if missing:
        message = f"{ref(thing)} no longer has {', '.join(missing)}, and revisions store no secret values"
        raise RefusedError(message, Hint("apply the profile, which has their source: ", Command("up")))
    return {**thing, "data": {key: there[key] for key in thing["data"]}}
