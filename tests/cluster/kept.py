"""The cache of everything that takes long to make: programs, image layers, and the state of clusters that run.

A name in the cache says all that went in (version, or a hash of the content), so an entry is either right or absent:
it is made in a folder beside it under a lock and renamed when complete.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VARIABLE = "LIGHTRAGCTL_TEST_CACHE"


class ClusterError(Exception):
    """What the person at the keyboard has to know: shown without a traceback."""


def cache_folder() -> Path:
    """Where things are kept between runs. Not under HOME: that differs between a person, sudo and CI."""
    folder = Path(os.environ.get(VARIABLE) or "/var/cache/lightragctl-test").absolute()
    if folder.is_relative_to(CHECKOUT) or folder.is_relative_to("/run"):
        raise ClusterError(f"{VARIABLE}={folder}: the cache can be neither in the checkout nor under /run")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text: str) -> None:
    """Progress, for people: it goes to standard error."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Says what is done and, at its end, how long it took."""
    begin = time.monotonic()
    yield
    say(f"  {what}: {time.monotonic() - begin:.1f} s")


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds a lock file; the kernel lets go of it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as problem:
            raise ClusterError(f"another process is at work here (it holds {path})") from problem
        yield


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """The entry of this name; made first, by `make(path)`, when it is not there."""
    folder = cache_folder()
    target = folder / name
    if target.exists():
        return target
    with locked(folder / "locks" / name):
        for left in folder.glob(f".{name}.*"):  # of a process that was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as scratch, timed(f"made {name}"):
                make(Path(scratch, "made"))
                os.sync()  # a rename must not reach the disk before the content
                Path(scratch, "made").rename(target)
    return target


def digest(*parts: str | bytes) -> str:
    """A short name for content."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()[:12]
