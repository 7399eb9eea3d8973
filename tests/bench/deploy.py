"""`up` beside helm and kubectl: the very same objects on the same cluster, wall time and API requests.

Waiting for readiness is left out everywhere. Helm is built from its Go module. The tool runs from a copy of the
checkout, so that its templates can be given 1,000 ConfigMaps more. KUBECONFIG names the cluster; without it the test
cluster is started.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster import cluster
from tests.cluster.binaries import programs
from tests.cluster.kept import cache_folder

ROOT = Path(__file__).resolve().parents[2]
HELM = "v3.22.0"
ROUNDS = 5
NAMESPACE = "bench"
COMMAND_S = 600.0
BULK = """{% for number in range(1000) %}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ release }}-bulk-{{ number }}
  namespace: {{ namespace }}
  labels: {app.kubernetes.io/instance: {{ release }}, app.kubernetes.io/managed-by: lightragctl}
data: {key: "value {{ number }}"}
{% endfor %}
"""


@dataclass(frozen=True)
class Lab:
    """Where one comparison happens: a copy of the tool, the same objects as files and as a chart."""

    folder: Path
    kubectl: str
    helm: str
    environ: dict[str, str]

    def run(self, *command: str) -> None:
        """Run a command to its end."""
        done = subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, timeout=COMMAND_S
        )
        if done.returncode not in (0, 1):  # 1: diff found something
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")

    def tool(self, *arguments: str) -> None:
        """Run lightragctl on profile dev in the bench namespace."""
        self.run(
            sys.executable, "-m", "lightragctl", *arguments, "--profile", "dev", "-n", NAMESPACE, "--name", "bench"
        )

    def requests(self) -> int:
        """Requests of the cluster's administrators so far, as the API server counts them; its own parts are others."""
        command = [self.kubectl, "get", "--raw", "/metrics"]
        text = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=True).stdout
        series = 'apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt"'
        mine = [line for line in text.splitlines() if line.startswith(series)]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in mine)


@contextmanager
def lab(bulk: bool, kubectl: str, helm: str) -> Iterator[Lab]:
    """A folder with a copy of the tool, and its objects as files and as a chart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("lightragctl", "templates", "profiles"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        if bulk:
            (folder / "templates" / "release" / "bulk.yaml.j2").write_text(BULK)
        made = Lab(folder, kubectl, helm, {**os.environ, "PYTHONPATH": name})
        made.tool("render", "--output-dir", "objects")
        chart = folder / "chart" / "templates"
        chart.mkdir(parents=True)
        (chart.parent / "Chart.yaml").write_text("{apiVersion: v2, name: bench, version: 0.0.1}")
        for path in sorted((folder / "objects").iterdir()):
            if yaml.safe_load(path.read_text())["kind"] != "Namespace":
                text = path.read_text().replace("{{", "{{ `{{` }}")
                (chart / path.name).write_text(text)
        yield made


def subjects(lab: Lab) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
    """By name: what prepares a measurement, and what is measured."""
    chart = str(lab.folder / "chart")
    install = (lab.helm, "upgrade", "--install", "bench", chart, "-n", NAMESPACE)
    apply = (lab.kubectl, "apply", "--server-side", "--field-manager=lightragctl", "-f", str(lab.folder / "objects"))

    def clear() -> None:
        lab.run(lab.kubectl, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")

    def space() -> None:
        clear()
        lab.run(lab.kubectl, "create", "namespace", NAMESPACE)

    nothing: Callable[[], None] = lambda: None  # noqa: E731 - a name for the empty preparation
    return {
        "lightragctl up, first": (clear, lambda: lab.tool("up", "--no-wait", "--yes")),
        "lightragctl up, no-op": (nothing, lambda: lab.tool("up", "--no-wait", "--yes")),
        "lightragctl diff": (nothing, lambda: lab.tool("diff")),
        "kubectl apply, first": (clear, lambda: lab.run(*apply)),
        "kubectl apply, no-op": (nothing, lambda: lab.run(*apply)),
        "helm upgrade --install, first": (space, lambda: lab.run(*install)),
        "helm upgrade --install, no-op": (nothing, lambda: lab.run(*install)),
        "helm upgrade --dry-run=server": (nothing, lambda: lab.run(*install, "--dry-run=server")),
    }


def measure(lab: Lab, rounds: int) -> dict[str, tuple[float, int]]:
    """The fastest wall time in seconds of each subject, and the requests of that run; rounds interleaved."""
    best: dict[str, tuple[float, int]] = {}
    for _ in range(rounds):
        for name, (prepare, act) in subjects(lab).items():
            prepare()
            before, begin = lab.requests(), time.perf_counter()
            act()
            took = time.perf_counter() - begin
            seen = (took, lab.requests() - before - 1)
            best[name] = min(best.get(name, seen), seen)
    lab.run(lab.kubectl, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    return best


def helm_program(cache: Path) -> str:
    """Helm, built once."""
    target = cache / f"helm-{HELM}"
    if not (target / "helm").exists():
        environ = {**os.environ, "GOBIN": str(target), "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"}
        subprocess.run(["go", "install", f"helm.sh/helm/v3/cmd/helm@{HELM}"], env=environ, check=True, timeout=1800)
    return str(target / "helm")


def report(kubectl: str, helm: str) -> None:
    """Print both comparisons."""
    for title, bulk, rounds in (("the objects of dev", False, ROUNDS), ("and 1,000 ConfigMaps", True, 2)):
        with lab(bulk, kubectl, helm) as made:
            best = measure(made, rounds)
        print(f"{title + ', fastest of ' + str(rounds):<34} {'wall':>8} {'requests':>9}")
        for name, (took, requests) in best.items():
            print(f"{name:<34} {took:>7.2f}s {requests:>9}")


def main() -> None:
    """Compare on the cluster of KUBECONFIG, or on a test cluster of this run's own."""
    kept_programs = programs()
    helm = helm_program(cache_folder())
    if os.environ.get("KUBECONFIG"):
        report(kept_programs["kubectl"], helm)
        return
    name = f"bench{os.getpid()}"
    try:
        os.environ["KUBECONFIG"] = str(cluster.up(name, 1).kubeconfig)
        report(kept_programs["kubectl"], helm)
    finally:
        cluster.down(name)
