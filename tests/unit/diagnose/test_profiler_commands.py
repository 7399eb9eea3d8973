"""What profilers run and what their output means; scripts run in a real shell of this machine."""

import faulthandler
import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError, NotRunningError, UsageError
from lightragctl.diagnose.output_file import check_new, write_new
from lightragctl.diagnose.profiler import ephemeral, probe, scripts
from lightragctl.diagnose.profiler.model import Artifact, Language, Process, Request, Surroundings, Target, Tool
from lightragctl.diagnose.profiler.outcome import checked, dump_marker, dump_signal, tidy
from lightragctl.diagnose.profiler.plan import CannotProfileError
from lightragctl.kube.streams import Output
from lightragctl.service.stack_dump import dump_stacks_on_signal

TARGET = Target("Pod/api", Process(1, 1000, "/usr/bin/python3"), Language.PYTHON, Surroundings(1000, "x86_64"))
GRAPH = Request(Artifact.FLAMEGRAPH, 3)


def test_the_script_finds_this_process_with_its_user_and_its_signals() -> None:
    dump_stacks_on_signal()
    try:
        done = subprocess.run(scripts.shell(probe.SCRIPT), capture_output=True, text=True, check=True)
    finally:
        faulthandler.unregister(signal.SIGUSR2)
    around = probe.parse(done.stdout)
    mine = next(one for one in around.processes if one.pid == os.getpid())
    assert (mine.uid, probe.language(mine.executable)) == (os.geteuid(), Language.PYTHON)
    assert mine.handles(signal.SIGUSR2)
    assert not mine.handles(signal.SIGUSR1)
    assert (around.architecture, around.uid, around.tar) == (os.uname().machine, os.geteuid(), True)
    assert around.scratch


def test_what_the_script_cannot_have_written_is_skipped() -> None:
    around = probe.parse("sh: warning\nuid x\nprocess\nprocess 7 1000 zz /bin/x\nprocess 8 1000 0f\nscratch /dev/shm\n")
    assert (around.uid, around.scratch, list(around.processes)) == (0, "/dev/shm", [Process(8, 1000, "", 15)])


def test_the_main_process_is_the_first_that_a_tool_knows() -> None:
    found = [Process(9, 0, "/usr/bin/python3.11"), Process(1, 0, "/bin/tini"), Process(7, 0, "/opt/java/bin/java")]
    assert probe.main_process(found) == found[2]
    assert probe.main_process(found[1:2]) is None
    assert probe.language("/milvus/bin/milvus") is Language.GO


FAILURES = [
    ("idle", "Error: No stack counts found", CannotProfileError, "executed no code"),
    ("gone", "Error: x\n0: No such file or directory (os error 2)", NotRunningError, "has ended"),
    ("denied", "Permission Denied: Try running again", CannotProfileError, "may not be traced"),
    ("static", "Error: Failed to find python version from target process", CannotProfileError, "cannot read"),
    ("other", "Error: odd\nStack backtrace:\n 0: x", LightragctlError, "Error: odd"),
]


@pytest.mark.parametrize(("text", "kind", "words"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_a_failure_names_its_cause_and_what_to_do(text: str, kind: type[LightragctlError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        checked(Output(1, b"", text.encode()), TARGET, GRAPH)
    assert caught.value.hint


def test_arguments_of_processes_are_in_no_profile() -> None:
    dump = b"Process 7: /usr/bin/python3 -m x --key planted-s3cret\nPython v3.11\n\nThread 7 (idle)\n"
    frame = (
        b'<text id="title" x="1">py-spy record</text><title>'
        b"process 7:&quot;/bin/python -k &quot;planted-s3cret&quot; a\n b&quot; (3 samples, 1%)</title>"
        b"<text>process 7:&quot;/bin/python -k planted-s3cr..</text>"
    )
    for content in (dump, frame):
        assert b"s3cr" not in checked(Output(0, content, b""), TARGET, GRAPH)
    assert tidy(dump, "") == b"Process 7: /usr/bin/python3\nPython v3.11\n\nThread 7 (idle)\n"
    titled = b'<text id="title" x="1">a &amp; b</text><title>process 7: /bin/python (3 samples, 1%)</title>'
    assert tidy(frame, "a & b") == titled + b"<text>process 7: /bin/python</text>"


def test_the_dump_of_the_log_is_what_came_after_the_signal() -> None:
    marker = dump_marker(Tool.FAULTHANDLER)
    old = ["start", f"Thread 1 {marker}:", "  File x", "a request"]
    new = [f"Thread 1 {marker}:", "  File y"]
    assert scripts.new_dump(old, old, marker) == ""
    assert scripts.new_dump(old, [*old, "noise", *new], marker) == "\n".join(new) + "\n"
    assert scripts.new_dump(old, [*old[2:], "noise", *new], marker) == "\n".join(new) + "\n"
    assert scripts.new_dump([], new, marker) == "\n".join(new) + "\n"
    assert scripts.new_dump(["gone"], [], marker) == ""


def test_on_the_signal_a_process_writes_its_stacks_and_goes_on() -> None:
    code = (
        "import os, signal\nfrom lightragctl.service.stack_dump import dump_stacks_on_signal\n"
        "dump_stacks_on_signal()\nos.kill(os.getpid(), signal.SIGUSR2)\nprint('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "goes on\n"
    assert dump_marker(Tool.FAULTHANDLER) in done.stderr
    assert dump_signal(Tool.FAULTHANDLER) == signal.SIGUSR2
    assert dump_signal(Tool.SIGQUIT) == signal.SIGQUIT


def arthas(names: tuple[str, ...] = scripts.ARTHAS_FILES) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return packed.getvalue()


def test_of_arthas_only_what_linux_needs_is_unpacked_in_the_container(tmp_path: Path) -> None:
    packed = scripts.pack_arthas(arthas((*scripts.ARTHAS_FILES, "as.bat", "../../evil")))
    folder = str(tmp_path / "arthas")
    subprocess.run(scripts.unpack_arthas(folder, len(packed)), input=packed, check=True)
    found = {str(one.relative_to(folder)) for one in Path(folder).rglob("*") if one.is_file()}
    assert found == set(scripts.ARTHAS_FILES)
    subprocess.run(scripts.remove(folder), check=True)
    assert not Path(folder).exists()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == list(scripts.ARTHAS_FILES)


@pytest.mark.parametrize("content", [b"", b"PK", arthas(("arthas-boot.jar",))], ids=["empty", "broken", "part"])
def test_another_archive_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match="no archive of Arthas"):
        scripts.pack_arthas(content)


def test_an_ephemeral_container_has_no_more_rights_than_it_needs() -> None:
    usual = ephemeral.container_of("p", "image", "api", 1000, False)["securityContext"]
    assert usual["capabilities"] == {"drop": ["ALL"]}
    assert (usual["runAsUser"], usual["runAsNonRoot"], usual["allowPrivilegeEscalation"]) == (1000, True, False)
    tracing = ephemeral.container_of("p", "image", "api", 1000, True)["securityContext"]
    assert tracing["capabilities"] == {"drop": ["ALL"], "add": ["SYS_PTRACE"]}
    assert (tracing["runAsUser"], tracing["runAsNonRoot"]) == (0, False)


def test_an_ephemeral_container_ends_by_itself_and_earlier_ones_stay() -> None:
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [], "ephemeralContainers": [{"name": "old"}]}}
    added = ephemeral.with_container(pod, {"name": "p"}, 60)["spec"]["ephemeralContainers"]
    assert added == [{"name": "old"}, {"name": "p", "command": ["sleep", "60"]}]
    waiting = {
        "status": {"ephemeralContainerStatuses": [{"name": "p", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
    }
    assert (ephemeral.is_running(waiting, "p"), ephemeral.obstacle(waiting, "p")) == (False, "ErrImagePull")
    runs = {"status": {"ephemeralContainerStatuses": [{"name": "p", "state": {"running": {}}}]}}
    assert ephemeral.is_running(runs, "p")


def test_a_file_of_the_user_is_never_replaced(tmp_path: Path) -> None:
    write_new(tmp_path / "a.svg", b"one")
    assert (tmp_path / "a.svg").stat().st_mode & 0o777 == 0o600
    for path in (tmp_path / "a.svg", tmp_path / "none" / "a.svg"):
        with pytest.raises(UsageError):
            check_new(path)
        with pytest.raises(UsageError):
            write_new(path, b"two")
    assert (tmp_path / "a.svg").read_bytes() == b"one"
