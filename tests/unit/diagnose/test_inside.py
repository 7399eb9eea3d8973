"""What the script in a pod prints is understood; the script for images with Python is run here."""

import subprocess
import sys
from pathlib import Path

from lightragctl.diagnose.collect.sources.inside import _PYTHON, Asked, understood
from lightragctl.diagnose.model import Reached
from tests.fakes.diagnosed import pod
from tests.ports import free_port

ASKED = Asked(pod("lightrag-api"), {"rel-gateway:8081": "model-gateway", "s3.example:443": ""})


def test_connections_clock_and_volumes_are_read() -> None:
    lines = ["clock 100.5", "disk /data 1000 250", "to rel-gateway:8081 ok 0.000200", "to s3.example:443 name -", ""]
    inside, volumes = understood(ASKED, lines, 100.0, 101.0)
    assert inside.reached == [
        Reached("rel-gateway:8081", "model-gateway", "", 0.0002),
        Reached("s3.example:443", "", "name"),
    ]
    assert (inside.component, inside.node, inside.skew_s) == ("lightrag-api", "node-1", 0.0)
    assert [(one.path, one.size_bytes, one.free_bytes) for one in volumes] == [("/data", 1000, 250)]


def test_a_clock_is_wrong_by_what_the_time_of_the_call_does_not_explain() -> None:
    assert understood(ASKED, ["clock 90.0"], 100.0, 103.0)[0].skew_s == -10.0
    assert understood(ASKED, ["clock 110.0"], 100.0, 103.0)[0].skew_s == 7.0


def test_the_script_tells_a_port_without_a_listener_and_a_full_folder(tmp_path: Path) -> None:
    target = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _PYTHON, str(tmp_path), target], capture_output=True, text=True, timeout=60
    )
    inside, volumes = understood(Asked(pod("lightrag-api"), {target: "x"}), done.stdout.splitlines(), 0.0, 1e12)
    assert inside.reached == [Reached(target, "x", "refused")]
    assert volumes[0].path == str(tmp_path)
    assert volumes[0].size_bytes >= volumes[0].free_bytes
