"""Replaces the files of a workspace, each folder atomically: written beside it, then renamed. Writes files.

lightrag-server of the workspace must be stopped. Every step may be repeated after a crash. For an operation OP and a
folder NAME there are beside it: `.NAME.OP.part` while files are written, `.NAME.OP.new` when they are complete, and
`.NAME.OP.kept`, what was in the place before.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.release.workspace_files import FULL_DOCS, INPUTS, WorkspaceFiles, split

_PIECE_BYTES = 1024 * 1024
_LOCATION = "sidecar_location"
"""In each document of FULL_DOCS: where what was parsed of an upload is, as `file://` and an absolute path."""


@dataclass(frozen=True)
class PlacedFiles:
    """Files of an operation for one workspace.

    Attributes:
        files: where they go.
        operation: its id, part of the names of the folders beside.
        rename: gives a folder another name.
    """

    files: WorkspaceFiles
    operation: str
    rename: Callable[[Path, Path], object] = Path.rename

    def begin(self) -> None:
        """Create empty folders for the files; the files of an earlier attempt are removed.

        Raises:
            RefusedError: the files are in place already, or complete.
        """
        for root in self.files.roots:
            if self._beside(root, "new").exists() or self._beside(root, "kept").exists():
                raise RefusedError(f"{self.operation} has written its files already", "resume it, or abort it")
            part = self._beside(root, "part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)

    def write(self, relative: str, pieces: Iterable[bytes]) -> None:
        """Write one file; it is on disk on return.

        Raises:
            UsageError: the path leads out of the workspace.
            LightragctlError: it cannot be written.
        """
        root, parts = split(relative)
        path = self._beside(root, "part").joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LightragctlError(f"cannot write {path}: {error.strerror}", "free some space, and resume") from error

    def complete(self, inputs_before: str) -> None:
        """Rewrite the absolute paths in the files to their new place, and mark the files complete.

        Args:
            inputs_before: the folder of the workspace's uploads where the files come from, an absolute path.
        """
        for root in self.files.roots:
            part = self._beside(root, "part")
            if part.exists():
                if root == split(FULL_DOCS)[0]:
                    self._relocate(part.joinpath(*split(FULL_DOCS)[1]), inputs_before)
                self.rename(part, self._beside(root, "new"))
                _sync(part.parent)

    def switch(self) -> None:
        """Rename the complete files into place; the previous files are kept beside them. Idempotent after a crash."""
        for root, folder in self.files.roots.items():
            new, kept = self._beside(root, "new"), self._beside(root, "kept")
            if not new.exists():
                continue
            if folder.exists() and not kept.exists():
                self.rename(folder, kept)
            elif not kept.exists():
                kept.mkdir()  # nothing was there before; `undo` must know that
            self.rename(new, folder)
            _sync(folder.parent)

    def undo(self) -> None:
        """Restore the previous files and delete those of the operation."""
        for root, folder in self.files.roots.items():
            kept = self._beside(root, "kept")
            if kept.exists():
                if folder.exists():
                    self.rename(folder, self._unused(root))
                self.rename(kept, folder)
                _sync(folder.parent)
            for kind in ("part", "new"):
                shutil.rmtree(self._beside(root, kind), ignore_errors=True)

    def is_switched(self) -> bool:
        """Whether all files of the operation are in place."""
        return all(
            self._beside(root, "kept").exists() and not self._beside(root, "new").exists() for root in self.files.roots
        )

    @property
    def kept_folders(self) -> list[Path]:
        """Where what was in the place before is until `cleanup`."""
        return [self._beside(root, "kept") for root in self.files.roots]

    def kept_bytes(self) -> int:
        """The size of the previous files in bytes, until `cleanup`."""
        return sum(path.stat().st_size for folder in self.kept_folders for path in folder.rglob("*") if path.is_file())

    def cleanup(self) -> None:
        """Delete the previous files."""
        for folder in self.kept_folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _beside(self, root: str, kind: str) -> Path:
        folder = self.files.roots[root]
        return folder.with_name(f".{folder.name}.{self.operation}.{kind}")

    def _unused(self, root: str) -> Path:
        """The temporary name of files that were in place and are undone."""
        new = self._beside(root, "new")
        shutil.rmtree(new, ignore_errors=True)
        return new

    def _relocate(self, full_docs: Path, inputs_before: str) -> None:
        if not full_docs.exists() or not _holds(full_docs, f'"{_LOCATION}"'.encode()):
            return
        inputs = self.files.roots[INPUTS].absolute()
        changed = relocated(json.loads(full_docs.read_bytes()), inputs_before, str(inputs))
        if changed is not None:
            text = json.dumps(changed, indent=2, ensure_ascii=False)
            self.write(FULL_DOCS, [text.encode()])


def relocated(documents: Mapping[str, object], before: str, after: str) -> dict[str, object] | None:
    """The documents with the paths of their parsed uploads led from one folder to another; None if there are none.

    Args:
        documents: the content of FULL_DOCS.
        before: the folder of the workspace's uploads, absolute, where the documents come from.
        after: the same where they go.
    """
    start, end = uri(before), uri(after)
    changed = False
    made: dict[str, object] = {}
    for key, document in documents.items():
        made[key] = document
        location = document.get(_LOCATION) if isinstance(document, dict) else None
        if isinstance(document, dict) and isinstance(location, str) and location.startswith(start) and start != end:
            made[key] = {**document, _LOCATION: end + location.removeprefix(start)}
            changed = True
    return made if changed else None


def _holds(path: Path, text: bytes) -> bool:
    """Whether the file holds the text; it may be larger than memory, and rarely does."""
    with open(path, "rb") as file:
        end = b""
        while piece := file.read(_PIECE_BYTES):
            if text in end + piece:
                return True
            end = piece[-len(text) :]
    return False


def uri(folder: str) -> str:
    """As upstream writes the folder's address, with a slash at its end."""
    return f"file://{quote(folder.rstrip('/'), safe='/')}/"


def _sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
