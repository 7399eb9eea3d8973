"""Decides how a process is profiled: the tool with the least rights that works there, or why none does. Pure."""

from lightragctl.core.errors import LightragctlError
from lightragctl.diagnose.profiler.model import Access, Artifact, Language, Plan, Request, Surroundings, Target, Tool
from lightragctl.service.stack_dump import STACK_DUMP_SIGNAL

SIGQUIT = 3
ARCHITECTURES = ("x86_64", "aarch64", "armv7l", "i686")
"""Those for which PyPI has wheels of py-spy."""
ARTHAS = "com.taobao.arthas:arthas-packaging:4.0.5:zip:bin"
GET_PY_SPY = "pip install 'lightragctl[profiler]'"
GET_ARTHAS = f"mvn dependency:copy -Dartifact={ARTHAS} -DoutputDirectory=. ; then pass it: --arthas FILE"
_EXEC = "create pods/exec"
_EPHEMERAL = "update pods/ephemeralcontainers"
_FORWARD = "create pods/portforward"
_LOG = "get pods/log"
_SAME_USER = "runs as the user of the process, without capabilities"
_ADDS = "adds an ephemeral container to the pod, which cannot be removed until the pod is deleted; it ends by itself"
_SAMPLES = "reads the stacks 100 times a second without pausing the process"
_NO_PTRACE = 3
"""Yama's ptrace_scope in which no process may trace another one."""


class CannotProfileError(LightragctlError):
    """No tool can profile this process; message and hint say what is missing."""

    code = "cannot-profile"


def make_plan(request: Request, target: Target) -> Plan:
    """How to profile the target.

    Raises:
        CannotProfileError: nothing works there.
    """
    match target.language:
        case Language.PYTHON:
            return _python(request, target)
        case Language.JVM:
            return _jvm(request, target)
        case Language.GO:
            return _go(request, target)
    raise CannotProfileError(
        f"{target.name} has no process of Python, Java or Milvus that can be profiled",
        "profiles are of Python (py-spy), the JVM (Arthas) and Milvus (pprof)",
    )


def direct_obstacle(around: Surroundings, process_uid: int) -> str:
    """Why py-spy cannot run beside the process as it is; empty if it can."""
    if around.architecture not in ARCHITECTURES:
        return f"py-spy does not exist for {around.architecture or 'this architecture'}"
    if not around.py_spy:
        return "py-spy is not in the container"
    if around.uid != process_uid:  # root without capabilities may not either
        return f"the process belongs to user {process_uid}, not to user {around.uid}"
    if around.ptrace_scope > 0:
        return f"the node permits tracing only with SYS_PTRACE (kernel.yama.ptrace_scope = {around.ptrace_scope})"
    return "" if around.scratch else "the container has no folder that can be written"


def needs_capability(around: Surroundings) -> bool:
    """Whether py-spy in a container of its own needs SYS_PTRACE: else the process's own user may trace it."""
    return around.ptrace_scope > 0


def _python(request: Request, target: Target) -> Plan:
    obstacle = _local_obstacle(target) if target.is_local else direct_obstacle(target.around, target.process.uid)
    if not obstacle:
        return _py_spy(request, target, Access.LOCAL if target.is_local else Access.EXEC)
    if target.is_local or target.around.ptrace_scope >= _NO_PTRACE or target.around.architecture not in ARCHITECTURES:
        return _stack_dump(request, target, obstacle)
    if target.ephemeral_refusal:
        return _stack_dump(request, target, f"{obstacle}; an ephemeral container: {target.ephemeral_refusal}")
    return _py_spy(request, target, Access.EPHEMERAL_CONTAINER)


def _py_spy(request: Request, target: Target, access: Access) -> Plan:
    sampled = request.artifact is Artifact.FLAMEGRAPH
    changes = _SAMPLES if sampled else "pauses the process for some milliseconds"
    is_added = access is Access.EPHEMERAL_CONTAINER
    needs = is_added and needs_capability(target.around)
    user = "capability SYS_PTRACE, as root of the container" if needs else _SAME_USER
    rights = {
        Access.LOCAL: ("root (ptrace)" if target.around.ptrace_scope else "the user of the process, or root",),
        Access.EXEC: (_EXEC, user),
        Access.EPHEMERAL_CONTAINER: (_EXEC, _EPHEMERAL, user),
    }
    return Plan(
        request.artifact,
        Tool.PY_SPY,
        access,
        ".svg" if sampled else ".txt",
        rights[access],
        (changes, _ADDS) if is_added else (changes,),
        needs_capability=needs,
    )


def _local_obstacle(target: Target) -> str:
    around = target.around
    if not around.py_spy:
        return f"py-spy is not installed ({GET_PY_SPY})"
    if around.uid == 0:
        return "" if around.ptrace_scope < _NO_PTRACE else "this machine forbids tracing (kernel.yama.ptrace_scope = 3)"
    if around.uid != target.process.uid:
        return f"the process belongs to user {target.process.uid}, not to user {around.uid}"
    if around.ptrace_scope > 0:
        return f"only root may trace it (kernel.yama.ptrace_scope = {around.ptrace_scope})"
    return ""


def _stack_dump(request: Request, target: Target, obstacle: str) -> Plan:
    """The dump that our services write themselves, by a signal.

    Raises:
        CannotProfileError: the process does not handle the signal, which would end it.
    """
    if not target.process.handles(STACK_DUMP_SIGNAL):
        raise CannotProfileError(
            f"{target.name} cannot be profiled: {obstacle}; and the process has no built-in stack dump",
            _advice(target, obstacle),
        )
    return Plan(
        Artifact.DUMP,
        Tool.FAULTHANDLER,
        Access.LOCAL if target.is_local else Access.EXEC,
        ".txt",
        ("the user of the process",) if target.is_local else (_EXEC, _LOG),
        (f"sends signal {STACK_DUMP_SIGNAL}; the process writes its stacks to its log and continues",),
        _note(request, obstacle, "its built-in stack dump"),
    )


def _note(request: Request, obstacle: str, instead: str) -> str:
    lost = "py-spy cannot be used" if request.artifact is Artifact.DUMP else "no flame graph"
    return f"{lost}: {obstacle}; took {instead} instead"


def _advice(target: Target, obstacle: str) -> str:
    if target.is_local:
        return GET_PY_SPY if not target.around.py_spy else "run the command as root, or as the user of the process"
    if "PodSecurity" in obstacle:
        return "use an image with py-spy, or ask the administrator for a namespace that permits SYS_PTRACE"
    return "use our image of this version, which has py-spy and the built-in stack dump"


def _jvm(request: Request, target: Target) -> Plan:
    if request.artifact is Artifact.DUMP:
        return _thread_dump(target, "")
    obstacle = _arthas_obstacle(request, target)
    if obstacle:
        return _thread_dump(target, _note(request, obstacle, "a thread dump of the JVM"))
    return Plan(
        Artifact.FLAMEGRAPH,
        Tool.ARTHAS,
        Access.EXEC,
        ".html",
        (_EXEC, _SAME_USER),
        (
            f"copies Arthas (14 MB) to {target.around.scratch} of the container and removes it afterwards",
            "loads an agent into the JVM, which is stopped afterwards; its classes stay loaded until the JVM ends",
        ),
    )


def _arthas_obstacle(request: Request, target: Target) -> str:
    if not request.arthas:
        return f"Arthas is not at hand ({GET_ARTHAS})"
    if not target.attachable:
        return "the container's Java has no module jdk.attach, which attaching needs"
    if not (target.around.tar and target.around.scratch):
        return "the container has no program tar, or no folder that can be written"
    return ""


def _thread_dump(target: Target, note: str) -> Plan:
    """Raises CannotProfileError where the JVM does not handle SIGQUIT (option -Xrs), which would end it."""
    if not target.process.handles(SIGQUIT):
        message = f"the JVM of {target.name} does not handle SIGQUIT (option -Xrs): a thread dump would end it"
        raise CannotProfileError(message, "remove -Xrs from its options")
    changes = ("sends SIGQUIT; the JVM writes its threads to its log and continues",)
    return Plan(Artifact.DUMP, Tool.SIGQUIT, Access.EXEC, ".txt", (_EXEC, _LOG), changes, note)


def _go(request: Request, target: Target) -> Plan:
    if not target.pprof_port:
        raise CannotProfileError(
            f"{target.name} is a Go program without an endpoint /debug/pprof",
            "of Milvus it is on port 9091; enable it of etcd with --enable-pprof",
        )
    sampled = request.artifact is Artifact.FLAMEGRAPH
    suffix = ".pb.gz" if sampled else ".txt"
    change = "samples 100 times a second" if sampled else "stops all goroutines for some milliseconds"
    return Plan(request.artifact, Tool.PPROF, Access.PORT_FORWARD, suffix, (_FORWARD,), (change,))
