"""What `up` says while it waits for processes of this machine."""

from lightragctl.local.files import DesiredProcess
from lightragctl.local.runtime import reasons


def test_a_wait_says_what_each_process_lacks() -> None:
    waiting = [
        DesiredProcess(
            name=name,
            argv=("true",),
            digest="d",
            port=1,
            ready_port=None,
            ready_path="/readyz",
            start_timeout_s=5,
            stop_grace_s=5.0,
        )
        for name in ("embedder", "lightrag-api")
    ]
    assert reasons(waiting, None) == "embedder: not started; lightrag-api: not started"
