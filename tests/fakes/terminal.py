"""A terminal of 80 columns, for commands that look where they write."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios

from tests.conftest import Tool

_END_S = 30.0


def seen_on_a_terminal(
    tool: Tool, *arguments: str, interrupt_at: str = "", answer: tuple[str, str] = ("", ""), **environ: str
) -> str:
    """What a command writes when both its outputs are a terminal.

    Ctrl-C is sent once `interrupt_at` stands there; once the first text of `answer` does, the second one is typed.
    """
    question, typed = answer
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "lightragctl", *arguments]
    with subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=tool.cwd,
        env={**tool.environ, "TERM": "xterm-256color", **environ},
    ) as child:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 65536):
                seen += part
                if interrupt_at and interrupt_at.encode() in seen:
                    interrupt_at = ""
                    child.send_signal(signal.SIGINT)
                if question and question.encode() in seen:
                    question = ""
                    os.write(leader, f"{typed}\n".encode())
        except OSError:  # Linux says so when the last writer of a terminal is gone
            os.close(leader)
        child.wait(timeout=_END_S)
    return seen.decode()
