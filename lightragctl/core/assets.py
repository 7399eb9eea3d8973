"""Where the shipped templates and profiles are: inside the installed wheel, else in the checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The folder that holds `templates/` and `profiles/`."""
    packed = _PACKAGE / "_assets"
    return packed if packed.is_dir() else _PACKAGE.parent
