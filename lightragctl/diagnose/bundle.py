"""A support bundle: facts in one archive of limited size, for the same checks elsewhere. Reads and writes one file.

What may be in it is decided by the types of the facts: each has a list of its fields, and private facts are left out.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from lightragctl.core.errors import UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import KNOWN
from lightragctl.diagnose.output_file import write_new

SCHEMA = "lightragctl/bundle/v1"
_FACTS = "facts.json"
MOST_BYTES = 20 * 1024 * 1024
"""Most bytes of the facts as JSON; the largest facts are left out until they fit."""
_LEFT_OUT = "left out of the bundle: too large"


def bounded(document: dict[str, Any], most: int = MOST_BYTES) -> dict[str, Any]:
    """The document with the largest facts left out until it has at most `most` bytes, and the reason for each."""
    facts, missing = dict(document["facts"]), dict(document["missing"])
    sizes = {name: len(json.dumps(value)) for name, value in facts.items()}
    while sizes and sum(sizes.values()) > most:
        largest = max(sizes, key=lambda name: sizes[name])
        del sizes[largest], facts[largest]
        missing[largest] = _LEFT_OUT
    return {**document, "facts": facts, "missing": missing}


def write_bundle(path: Path, facts: Facts, version: str) -> int:
    """Write the facts; the size of the file in bytes. An existing file is not replaced.

    Raises:
        UsageError: the file exists, or its folder does not.
        LightragctlError: it cannot be written.
    """
    document = bounded(facts.document(KNOWN))
    text = json.dumps({"schema": SCHEMA, "version": version, **document}, indent=1, ensure_ascii=False).encode()
    entry = tarfile.TarInfo(_FACTS)
    entry.size, entry.mode = len(text), 0o600
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(entry, io.BytesIO(text))
    write_new(path, packed.getvalue())
    return path.stat().st_size


def read_bundle(path: Path) -> Facts:
    """The facts of a bundle.

    Raises:
        UsageError: it is no bundle, or one that this version cannot read.
    """
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            member = archive.getmember(_FACTS)
            if member.size > 2 * MOST_BYTES:
                raise UsageError(f"{path} is no bundle of ours: its facts are too large")
            file = archive.extractfile(member)
            document = json.loads(file.read()) if file is not None else {}
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except (tarfile.TarError, KeyError, EOFError, ValueError, OSError) as error:
        raise UsageError(
            f"{path} is no bundle: {error}", Hint("make one: ", Command("diagnose bundle", "FILE"))
        ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(f"{path} is a bundle of another version", "judge it with the version that made it")
    return Facts.of_document(document, KNOWN)
