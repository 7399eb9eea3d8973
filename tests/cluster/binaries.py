"""The programs of a cluster: Kubernetes and its add-ons are built from source once per version, the rest is Debian's.

Versions. Kubernetes 1.34 is the last that runs on cgroup v1 without being asked to, and it takes Debian 12's
containerd 1.6. etcd is the version that this Kubernetes requires.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.kept import ClusterError, digest, kept, say

KUBERNETES, ETCD = "1.34.4", "3.6.4"
ADDONS = {
    "coredns": ("github.com/coredns/coredns", "v1.14.7"),
    "metrics-server": ("sigs.k8s.io/metrics-server/cmd/metrics-server", "v0.8.0"),
    "local-path-provisioner": ("github.com/rancher/local-path-provisioner", "v0.0.30"),
}
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
BUILD_S = 1800.0
"""Kubernetes takes 5 minutes on two cores with an empty build cache; a busy machine takes longer."""
SOURCE = Path(__file__).parent / "kube" / "main.go"
DEBIAN = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "socat": "socat",
    "ethtool": "ethtool",
    "modprobe": "kmod",
    "debootstrap": "debootstrap",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
"""A program that must be there, and the Debian package that brings it."""


@dataclass(frozen=True)
class Programs:
    """Where each program is."""

    folders: tuple[Path, ...]

    def __getitem__(self, name: str) -> str:
        """The path of one program."""
        for folder in self.folders:
            if (folder / name).exists():
                return str(folder / name)
        raise ClusterError(f"no {name} in {', '.join(map(str, self.folders))}")

    @property
    def path(self) -> str:
        """A PATH with these programs first."""
        return os.pathsep.join([*map(str, self.folders), os.environ.get("PATH", os.defpath)])


def programs() -> Programs:
    """Every program, built now where it is not in the cache. KUBEBUILDER_ASSETS may hold some of them, prebuilt."""
    assets = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent")
    given = [name for name in PARTS if (assets / name).exists()]
    folders = [assets] if given else []
    if len(given) < len(PARTS):
        folders.append(kept(f"kubernetes-{KUBERNETES}-{recipe()}", build_kubernetes))
    for name, (module, version) in ADDONS.items():
        folders.append(kept(f"{name}-{version}", lambda path, at=f"{module}@{version}": install(at, path)))
    return Programs(tuple(folders))


def recipe() -> str:
    """What the Kubernetes program is made of, besides the version."""
    return digest(SOURCE.read_bytes(), ETCD, go_mod("require example v0\n"), " ".join(flags()))


def flags() -> list[str]:
    """Without the stamp it would call itself v0.0.0-master, which clients refuse."""
    return ["-trimpath", "-ldflags", f"-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES}"]


def build_kubernetes(target: Path) -> None:
    """Makes one program of all parts, and a link to it by each part's name."""
    say(
        f"building Kubernetes {KUBERNETES} and etcd {ETCD} from source; this happens once, about 5 minutes on two cores"
    )
    target.mkdir()
    shutil.copy(SOURCE, target)
    known = json.loads(go("mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}", cwd=target))
    (target / "go.mod").write_text(go_mod(Path(known["GoMod"]).read_text()))
    go("mod", "tidy", cwd=target)
    go("build", *flags(), "-o", "kube", ".", cwd=target)
    for name in PARTS:
        (target / name).symlink_to("kube")


def go_mod(theirs: str) -> str:
    """Kubernetes takes its libraries from a folder of its own tree; outside of it they are the published modules."""
    published = KUBERNETES.replace("1.", "0.", 1)
    libraries = sorted(set(re.findall(r"^\s*(k8s\.io/\S+) => \./staging", theirs, re.MULTILINE)))
    lines = [f"replace {name} => {name} v{published}" for name in libraries]
    needs = [f"require k8s.io/kubernetes v{KUBERNETES}", f"require go.etcd.io/etcd/server/v3 v{ETCD}"]
    return "\n".join(["module lightragctl.test/kube", "", "go 1.24.0", "", *needs, "", *lines, ""])


def install(module: str, target: Path) -> None:
    """Builds a published program."""
    say(f"building {module}; this happens once, one to three minutes on two cores")
    target.mkdir()
    go("install", "-trimpath", "-ldflags", "-s -w", module, cwd=target)


def go(*arguments: str, cwd: Path) -> str:
    """Runs Go. Without C, so that no compiler is needed; politely, as a build takes every core for minutes."""
    if not shutil.which("go"):
        raise ClusterError("Go is not installed: the test cluster builds Kubernetes from source (Go 1.24 or newer)")
    own = {"CGO_ENABLED": "0", "GOBIN": str(cwd), "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    return run("nice", "-n", "5", "go", *arguments, cwd=cwd, env={**os.environ, **own}, timeout_s=BUILD_S)


def ensure_packages() -> None:
    """Installs the Debian packages that are missing."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = sorted({package for name, package in DEBIAN.items() if not shutil.which(name, path=search)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"please install {' '.join(missing)}: there is no apt-get here to do it")
    say(f"installing Debian packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-q", env=env, timeout_s=300)
    run("apt-get", "install", "-q", "-y", "--no-install-recommends", *missing, env=env, timeout_s=600)
