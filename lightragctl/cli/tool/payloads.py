"""The Result of `version`. Pure."""

from lightragctl.core.result import Result


def version(number: str, python: str) -> Result:
    """`version`: of lightragctl and of Python."""
    return Result("version", {"version": number, "python": python})
