"""Merges the logs of a release's pods."""

import queue
import threading
from collections.abc import Iterator, Sequence

from lightragctl.core.errors import LightragctlError
from lightragctl.kube.scope import Scope

Line = tuple[str, str]


def read_logs(scope: Scope, pods: Sequence[Line], follow: bool, tail_lines: int) -> Iterator[Line]:
    """Lines as (component, line), in order per pod; without `follow`, one pod after the other.

    Args:
        scope: the release.
        pods: (component, pod) of each.
        follow: stream new lines of all pods concurrently, until all pods end.
        tail_lines: number of existing lines per pod.
    """
    if follow:
        yield from _followed(scope, pods, tail_lines)
        return
    for component, pod in pods:
        lines = scope.cluster.log(scope.namespace, pod, tail_lines=tail_lines, follow=False, previous=False)
        yield from ((component, line) for line in lines)


def _followed(scope: Scope, pods: Sequence[Line], tail_lines: int) -> Iterator[Line]:
    arriving: queue.Queue[Line | None] = queue.Queue()

    def read(component: str, pod: str) -> None:
        try:
            for line in scope.cluster.log(scope.namespace, pod, tail_lines=tail_lines, follow=True, previous=False):
                arriving.put((component, line))
        except LightragctlError as error:
            arriving.put((component, f"[log ended: {error.message}]"))
        finally:
            arriving.put(None)

    for component, pod in pods:
        threading.Thread(target=read, args=(component, pod), daemon=True).start()
    for _ in pods:
        while (line := arriving.get()) is not None:
            yield line
