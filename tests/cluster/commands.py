"""Runs other programs: with a deadline each, and with their own words when they fail."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.cluster.kept import ClusterError

T = TypeVar("T")


def run(
    *command: str | Path,
    timeout_s: float = 60,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Runs a command to its end and gives what it printed; ClusterError with its last lines when it fails."""
    words = [str(word) for word in command]
    shown = " ".join(words)[:200]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, input=stdin, env=env, cwd=cwd)
    except FileNotFoundError as problem:
        raise ClusterError(f"{words[0]} is not installed (needed for: {shown})") from problem
    except subprocess.TimeoutExpired as problem:
        raise ClusterError(f"not done after {timeout_s:.0f} s: {shown}") from problem
    if done.returncode:
        raise ClusterError(f"status {done.returncode}: {shown}\n{last_lines(done.stderr or done.stdout)}")
    return done.stdout


def works(*command: str | Path, timeout_s: float = 10) -> str:
    """Why a command does not succeed, or nothing: for waits."""
    try:
        run(*command, timeout_s=timeout_s)
    except ClusterError as problem:
        return str(problem)
    return ""


def wait_until(what: str, why_not: Callable[[], str], timeout_s: float, pause_s: float = 0.2) -> None:
    """Waits until `why_not` has nothing to say; ClusterError with its last words when the time is over."""
    end = time.monotonic() + timeout_s
    while reason := why_not():
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not so after {timeout_s:.0f} s: {reason}")
        time.sleep(pause_s)


def last_lines(text: str, count: int = 15) -> str:
    """The end of a log."""
    return "\n".join(text.strip().splitlines()[-count:])


def together(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Runs jobs at the same time; the first that failed speaks for all."""
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        return [job.result() for job in [pool.submit(job) for job in jobs]]
