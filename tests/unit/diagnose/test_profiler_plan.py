"""How a process is profiled is decided by what is there: the tool that needs the least rights, else a stack dump."""

import signal
from dataclasses import replace

import pytest

from lightragctl.diagnose.profiler.model import (
    Access,
    Artifact,
    Language,
    Plan,
    Process,
    Request,
    Surroundings,
    Target,
    Tool,
)
from lightragctl.diagnose.profiler.plan import CannotProfileError, make_plan

CATCHES = 1 << (signal.SIGUSR2 - 1) | 1 << (signal.SIGQUIT - 1)
GRAPH, DUMP = Request(Artifact.FLAMEGRAPH, 10), Request(Artifact.DUMP, 10)
HERE = Surroundings(1000, "x86_64", 0, "/opt/py-spy", "/usr/bin/java", True, "/tmp")
POD = Target("Pod/api", Process(1, 1000, "/usr/bin/python3.11", CATCHES), Language.PYTHON, HERE)
FORBIDS = 'violates PodSecurity "restricted:latest"'
ALONE = replace(HERE, py_spy="")


def planned(request: Request, around: Surroundings = HERE, **changed: object) -> Plan:
    return make_plan(request, replace(POD, around=around, **changed))  # type: ignore[arg-type]


def test_a_command_in_the_container_needs_no_capability_and_leaves_nothing() -> None:
    plan = planned(GRAPH)
    assert (plan.tool, plan.access, plan.suffix) == (Tool.PY_SPY, Access.EXEC, ".svg")
    assert plan.rights == ("create pods/exec", "runs as the user of the process, without capabilities")
    assert not any("ephemeral" in one for one in plan.changes)


OBSTACLES = [
    ("no py-spy in the image", ALONE, False),
    ("ptrace needs a capability", replace(HERE, ptrace_scope=1), True),
    ("ptrace for administrators", replace(HERE, ptrace_scope=2), True),
    ("another user", replace(HERE, uid=0), False),
    ("read-only everywhere", replace(HERE, scratch=""), False),
]


@pytest.mark.parametrize(("around", "capability"), [row[1:] for row in OBSTACLES], ids=[row[0] for row in OBSTACLES])
def test_else_an_ephemeral_container_with_a_capability_only_where_the_node_requires_it(
    around: Surroundings, capability: bool
) -> None:
    plan = planned(GRAPH, around)
    assert (plan.access, plan.needs_capability) == (Access.EPHEMERAL_CONTAINER, capability)
    assert "update pods/ephemeralcontainers" in plan.rights
    assert any("SYS_PTRACE" in one for one in plan.rights) is capability
    assert any("cannot be removed" in one for one in plan.changes)


@pytest.mark.parametrize(("around", "capability"), [row[1:] for row in OBSTACLES], ids=[row[0] for row in OBSTACLES])
def test_where_that_is_forbidden_too_the_built_in_dump_is_taken_and_both_reasons_are_given(
    around: Surroundings, capability: bool
) -> None:
    plan = planned(GRAPH, around, ephemeral_refusal=FORBIDS)
    assert (plan.tool, plan.artifact, plan.access) == (Tool.FAULTHANDLER, Artifact.DUMP, Access.EXEC)
    assert FORBIDS in plan.note
    assert plan.note.startswith("no flame graph: ")


IMPOSSIBLE = [("ptrace off", replace(HERE, ptrace_scope=3)), ("architecture", replace(HERE, architecture="riscv64"))]


@pytest.mark.parametrize("around", [row[1] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE])
def test_no_container_is_added_where_it_cannot_help(around: Surroundings) -> None:
    assert planned(GRAPH, around).tool is Tool.FAULTHANDLER


def test_a_process_that_the_signal_would_end_gets_none() -> None:
    bare = replace(POD.process, caught=0)
    with pytest.raises(CannotProfileError, match="no built-in stack dump") as caught:
        planned(GRAPH, ALONE, process=bare, ephemeral_refusal=FORBIDS)
    assert "administrator" in caught.value.hint
    with pytest.raises(CannotProfileError, match="-Xrs"):
        planned(DUMP, process=bare, language=Language.JVM)


LOCAL = [
    ("own process", HERE, Tool.PY_SPY),
    ("root", replace(HERE, uid=0, ptrace_scope=1), Tool.PY_SPY),
    ("not installed", ALONE, Tool.FAULTHANDLER),
    ("another user's", replace(HERE, uid=7), Tool.FAULTHANDLER),
    ("ptrace for root only", replace(HERE, ptrace_scope=1), Tool.FAULTHANDLER),
    ("ptrace off", replace(HERE, uid=0, ptrace_scope=3), Tool.FAULTHANDLER),
]


@pytest.mark.parametrize(("around", "tool"), [row[1:] for row in LOCAL], ids=[row[0] for row in LOCAL])
def test_on_this_machine_nothing_is_added(around: Surroundings, tool: Tool) -> None:
    plan = planned(GRAPH, around, is_local=True)
    assert (plan.tool, plan.access) == (tool, Access.LOCAL)


JVM = [
    ("archive and module", HERE, True, True, Tool.ARTHAS),
    ("no archive", HERE, False, True, Tool.SIGQUIT),
    ("no module jdk.attach", HERE, True, False, Tool.SIGQUIT),
    ("no tar", replace(HERE, tar=False), True, True, Tool.SIGQUIT),
    ("read-only everywhere", replace(HERE, scratch=""), True, True, Tool.SIGQUIT),
]


@pytest.mark.parametrize(("around", "archive", "module", "tool"), [row[1:] for row in JVM], ids=[row[0] for row in JVM])
def test_a_jvm_gets_arthas_where_that_can_attach_else_its_thread_dump(
    around: Surroundings, archive: bool, module: bool, tool: Tool
) -> None:
    plan = planned(replace(GRAPH, arthas=archive), around, language=Language.JVM, attachable=module)
    assert plan.tool is tool
    assert bool(plan.note) is (tool is Tool.SIGQUIT)


def test_a_dump_of_a_jvm_needs_no_arthas_and_no_excuse() -> None:
    plan = planned(DUMP, language=Language.JVM)
    assert (plan.tool, plan.note) == (Tool.SIGQUIT, "")


def test_milvus_has_an_endpoint_and_a_program_without_one_is_refused() -> None:
    graph = planned(GRAPH, language=Language.GO, pprof_port=9091)
    assert (graph.tool, graph.access, graph.suffix) == (Tool.PPROF, Access.PORT_FORWARD, ".pb.gz")
    assert planned(DUMP, language=Language.GO, pprof_port=9091).suffix == ".txt"
    with pytest.raises(CannotProfileError, match="/debug/pprof"):
        planned(GRAPH, language=Language.GO)
    with pytest.raises(CannotProfileError, match="no process of Python"):
        planned(GRAPH, language=Language.UNKNOWN)
