"""Questions of the user's own, from a file."""

from pathlib import Path

from lightragctl.core.errors import UsageError


def questions_in(file: Path) -> list[str]:
    """The questions, one a line; empty lines are none.

    Raises:
        UsageError: the file cannot be read, or holds none.
    """
    try:
        found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read questions from {file}: {error}", "a text file, one question a line") from error
    if not found:
        raise UsageError(f"{file} holds no question", "write one on each line")
    return found
