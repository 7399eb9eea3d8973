"""New files for a user: bundles and profiles. An existing file is never replaced. Reads and writes files."""

from pathlib import Path

from lightragctl.core.errors import LightragctlError, UsageError

_MODE = 0o600


def check_new(path: Path) -> None:
    """Refuse a file that cannot be created, before work is done for it.

    Raises:
        UsageError: the file exists, or its folder does not.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", "name another file, or remove it")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", "create it, or name another file")


def write_new(path: Path, content: bytes) -> None:
    """Create the file, readable for this user alone; what was written is removed if that fails.

    Raises:
        UsageError: as of `check_new`.
        LightragctlError: it cannot be written.
    """
    check_new(path)
    try:
        path.touch(_MODE, exist_ok=False)
        path.write_bytes(content)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise LightragctlError(f"cannot write {path}: {error.strerror}", "name another file") from error
