"""Finds the files of a workspace of lightrag-server: their folders, which stores are files, and their list.

LightRAG 1.5 keeps its key-value stores, document status and graph in `WORKING_DIR/WORKSPACE/`, and what was uploaded
in `INPUT_DIR/WORKSPACE/`. The same module runs in a pod that mounts the volume at the same path. Reads files only;
`release/placed_files.py` writes them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.profile import Runtime
from lightragctl.core.runtime import ReleaseRuntime
from lightragctl.core.settings import LightragServerSettings
from lightragctl.core.stores import KINDS, uncopyable
from lightragctl.release.writers import WRITER

STORAGE, INPUTS = "rag_storage", "inputs"
"""The first part of the relative path of every file."""

FULL_DOCS = f"{STORAGE}/kv_store_full_docs.json"
"""The one file that holds absolute paths: those of parsed uploads."""

MOUNT = "/var/lib/lightrag"
"""Where the pod has its volume; a Job that copies the files mounts it there too."""


class UnsupportedStoreError(RefusedError):
    """lightrag-server keeps a part of the workspace in a store that cannot be copied."""

    code = "unsupported-store"


@dataclass(frozen=True)
class FileEntry:
    """A file: its path below the roots, with `/`, and its size."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class WorkspaceFiles:
    """The files of one workspace.

    Attributes:
        workspace: its name, which is the name of its folders too.
        storage: the folder that holds a folder for each workspace, of LightRAG's stores.
        inputs: the same of uploaded files.
        claim: the volume claim that holds both, mounted at `MOUNT`; None on this machine.
    """

    workspace: str
    storage: Path
    inputs: Path
    claim: str | None = None

    @property
    def roots(self) -> Mapping[str, Path]:
        """The workspace's folders by the first part of a relative path; they may not exist."""
        return {STORAGE: self.storage / self.workspace, INPUTS: self.inputs / self.workspace}

    def of(self, workspace: str) -> "WorkspaceFiles":
        """The files of another workspace in the same place."""
        return replace(self, workspace=workspace)

    def path(self, relative: str) -> Path:
        """Where a file is or would be.

        Raises:
            UsageError: the path leads out of the workspace.
        """
        root, parts = split(relative)
        return self.roots[root].joinpath(*parts)


def find_files(runtime: ReleaseRuntime, release: str) -> WorkspaceFiles | None:
    """The files of the workspace that the release's lightrag-server serves; None when it has no such server.

    Raises:
        NotRunningError: there is no such release.
        UnsupportedStoreError: a part of the workspace is in a store that cannot be copied.
    """
    applied = runtime.applied()
    if WRITER not in applied.settings:
        return None
    settings = LightragServerSettings.model_validate(applied.settings[WRITER])
    check_stores(settings)
    on_cluster = applied.values.get("runtime") == Runtime.KUBERNETES
    claim = f"data-{release}-{WRITER}-0" if on_cluster else None
    folder = Path("/") if on_cluster else Path(runtime.data)
    return WorkspaceFiles(settings.workspace, folder / settings.storage, folder / settings.inputs, claim)


def check_stores(settings: LightragServerSettings) -> None:
    """Refuse stores that are neither files nor tables of PostgreSQL.

    Raises:
        UnsupportedStoreError: with the variable and the store.
    """
    if found := uncopyable(settings.environment):
        variable, reason = found
        message = f"{reason} (components.{WRITER}.environment.{variable}), which cannot be backed up or restored"
        copied = ", ".join(f"{kind.files} or {kind.postgres}" for kind in KINDS)
        hint = f"back up that store with its own tool; lightragctl copies {copied}, and vectors in Milvus"
        raise UnsupportedStoreError(message, hint)


def list_files(files: WorkspaceFiles) -> list[FileEntry]:
    """All files of the workspace, sorted by path; temporary files of an interrupted write of upstream are skipped.

    Raises:
        RefusedError: something in it is neither a file nor a folder.
    """
    found = [entry for root, folder in files.roots.items() for entry in _below(root, folder)]
    return sorted(found, key=lambda entry: entry.path)


def _below(root: str, folder: Path) -> list[FileEntry]:
    found = []
    for place, _, names in os.walk(folder, onerror=_fail_unless_missing):
        for name in names:
            path = Path(place) / name
            if ".tmp." in name:
                continue
            if path.is_symlink() or not path.is_file():
                raise RefusedError(f"{path} is not a regular file", "remove it, or replace it with its target")
            relative = PurePosixPath(root, *path.relative_to(folder).parts)
            found.append(FileEntry(str(relative), path.stat().st_size))
    return found


def _fail_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise RefusedError(f"cannot read {error.filename}: {error.strerror}", "check its permissions") from error


def split(relative: str) -> tuple[str, Sequence[str]]:
    """The root and the parts below it of a relative path from a backup, which is untrusted.

    Raises:
        UsageError: the path is absolute, has `..`, a NUL or another root.
    """
    root, *parts = relative.split("/")
    if root not in (STORAGE, INPUTS) or not parts or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(f"{relative!r} is not a path of a workspace file", "the backup is damaged; verify it")
    return root, parts
