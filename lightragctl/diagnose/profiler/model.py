"""What is known of a process to profile, and how it will be profiled. Pure types."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Artifact(StrEnum):
    """What the user gets."""

    FLAMEGRAPH = "flamegraph"
    DUMP = "dump"


class Language(StrEnum):
    """What runs a process; decides which tools can read its stacks."""

    PYTHON = "python"
    JVM = "jvm"
    GO = "go"
    UNKNOWN = "unknown"


class Tool(StrEnum):
    """What reads the stacks."""

    PY_SPY = "py-spy"
    ARTHAS = "arthas"
    PPROF = "pprof"
    FAULTHANDLER = "faulthandler"
    SIGQUIT = "jvm-thread-dump"


class Access(StrEnum):
    """How the process is reached."""

    LOCAL = "local"
    EXEC = "exec"
    EPHEMERAL_CONTAINER = "ephemeral-container"
    PORT_FORWARD = "port-forward"


@dataclass(frozen=True)
class Process:
    """A process of a container or of this machine.

    Attributes:
        pid: in the container's PID namespace.
        uid: its effective user.
        executable: the path of its program; empty if it cannot be read.
        caught: bit n-1: it handles signal n (`SigCgt` of proc(5)).
    """

    pid: int
    uid: int
    executable: str
    caught: int = 0

    def handles(self, signal_number: int) -> bool:
        """Whether the process handles the signal; others may end it."""
        return bool(self.caught >> (signal_number - 1) & 1)


@dataclass(frozen=True)
class Surroundings:
    """What a shell in the container, or this process on its own machine, finds.

    Attributes:
        uid: of the shell.
        architecture: as `uname -m`.
        ptrace_scope: of Yama; 0: a process may trace others of its user.
        py_spy: path of the program; empty if there is none.
        java: path of the program; empty if there is none.
        tar: whether the program is there.
        scratch: a folder that can be written; empty if there is none.
        processes: all that can be seen.
    """

    uid: int
    architecture: str
    ptrace_scope: int = 0
    py_spy: str = ""
    java: str = ""
    tar: bool = False
    scratch: str = ""
    processes: Sequence[Process] = ()


@dataclass(frozen=True)
class Target:
    """What is profiled, with all that decides how.

    Attributes:
        name: `Pod/NAME`, or a component on this machine.
        process: the one to profile.
        language: of that process.
        around: what is there beside it.
        is_local: it runs on this machine.
        pprof_port: of an HTTP endpoint `/debug/pprof`; 0: none.
        attachable: the Java runtime can attach to another one (module jdk.attach).
        ephemeral_refusal: why the cluster rejects an ephemeral container; empty: it accepts one.
    """

    name: str
    process: Process
    language: Language
    around: Surroundings
    is_local: bool = False
    pprof_port: int = 0
    attachable: bool = False
    ephemeral_refusal: str = ""


@dataclass(frozen=True)
class Request:
    """What the user wants.

    Attributes:
        artifact: a flame graph or a stack dump.
        duration_s: seconds of sampling of a flame graph.
        arthas: whether an archive of Arthas is at hand.
    """

    artifact: Artifact
    duration_s: int
    arthas: bool = False


@dataclass(frozen=True)
class Plan:
    """How a process will be profiled.

    Attributes:
        artifact: what it yields; may be a dump where a flame graph was requested.
        tool, access: how.
        suffix: of the file.
        rights: what it needs, each as a phrase.
        changes: what it leaves behind or disturbs, each as a sentence.
        note: why it is not what was requested; empty if it is.
        needs_capability: the ephemeral container needs SYS_PTRACE, as root.
    """

    artifact: Artifact
    tool: Tool
    access: Access
    suffix: str
    rights: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    note: str = ""
    needs_capability: bool = False


@dataclass(frozen=True)
class Profile:
    """A finished profile.

    Attributes:
        content: of the file.
        container: the ephemeral container that was added; empty: none.
    """

    content: bytes = field(repr=False)
    container: str = ""
