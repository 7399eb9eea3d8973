"""How long the command line takes to start."""

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def elapsed_s(*arguments: str) -> float:
    """The wall time of one run of Python with these arguments."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print the start-up time of the command line beside that of Python alone, interleaved."""
    subjects = {
        "python -c pass": ("-c", "pass"),
        "lightragctl --help": ("-m", "lightragctl", "--help"),
        "lightragctl up --help": ("-m", "lightragctl", "up", "--help"),
        "lightragctl profiles list": ("-m", "lightragctl", "profiles", "list"),
    }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(ROUNDS):
        for name, arguments in subjects.items():
            times[name].append(elapsed_s(*arguments))
    print(f"{'wall time of':<28} {'median':>8} {'fastest':>8}   ({ROUNDS} rounds, interleaved)")
    for name, values in times.items():
        print(f"{name:<28} {statistics.median(values):>7.3f}s {min(values):>7.3f}s")
