"""The Result of `version`. Pure."""

from dataclasses import dataclass

from lightragctl.core.result import Result


@dataclass(frozen=True)
class VersionPayload:
    """Versions of lightragctl and Python."""

    version: str
    python: str


def version(number: str, python: str) -> Result:
    """`version`: of lightragctl and of Python."""
    return Result("version", VersionPayload(number, python))
