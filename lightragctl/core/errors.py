"""Errors that a user may see, with their exit statuses. No I/O.

    LightragctlError            1  something failed; the message says what
    ├── UsageError              2  the command line is wrong
    │   └── ProfileError        2  a profile or an override is wrong; names file and line
    ├── WaitExpired             5  a wait ended before what it waited for came
    ├── LockedError             6  another process is changing the same release
    ├── RefusedError            8  possible, but unsafe
    ├── NeedsAttentionError     9  partly done; needs a person
    └── UnavailableError        1  a service we need does not answer
        └── NotRunningError     1  the release is not up
Everything else that reaches `__main__` is a bug and ends with status 70.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of commands; the same for every output format."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CHECKS_FAILED = 3
    WARNINGS = 4
    TIMEOUT = 5
    LOCKED = 6
    ROLLED_BACK = 7
    REFUSED = 8
    NEEDS_ATTENTION = 9
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


class LightragctlError(Exception):
    """A failure we can explain.

    Args:
        message: what went wrong and on what, one sentence.
        hint: what to do next, best a command; may be empty.
    """

    code = "failed"
    exit_status = ExitStatus.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LightragctlError):
    """The command line is invalid."""

    code = "usage"
    exit_status = ExitStatus.USAGE


class ProfileError(UsageError):
    """A profile, a values file or a `--set` is invalid."""

    code = "profile"


class WaitExpired(LightragctlError):
    """A wait timed out; the message says what was waited for and the last reason."""

    code = "timeout"
    exit_status = ExitStatus.TIMEOUT


class LockedError(LightragctlError):
    """Another process holds the release's lock."""

    code = "locked"
    exit_status = ExitStatus.LOCKED


class RefusedError(LightragctlError):
    """Refused because it could lose data or mislead."""

    code = "refused"
    exit_status = ExitStatus.REFUSED


class NeedsAttentionError(LightragctlError):
    """Partly done; the rest needs a person."""

    code = "needs-attention"
    exit_status = ExitStatus.NEEDS_ATTENTION


class UnavailableError(LightragctlError):
    """A service outside this process does not answer, or not in time."""

    code = "unavailable"


class NotRunningError(UnavailableError):
    """The release that the command needs is not up."""

    code = "not-running"
