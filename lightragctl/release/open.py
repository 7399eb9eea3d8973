"""Opens the runtime of a release: local processes or a cluster. Imports only what it needs."""

import functools
import getpass
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lightragctl.core.profile import LoadedProfile, Runtime
from lightragctl.core.runtime import ReleaseRuntime

if TYPE_CHECKING:
    from lightragctl.kube.client import ClusterClient
    from lightragctl.kube.lease import LockHolder


@dataclass(frozen=True)
class RuntimeOptions:
    """How to open a runtime: environment and kubeconfig."""

    environ: Mapping[str, str]
    kubeconfig: Path | None
    context: str | None


def open_runtime(
    release: str, loaded: LoadedProfile, place: RuntimeOptions, addresses: Callable[[str], str] | None = None
) -> ReleaseRuntime:
    """The runtime of the profile.

    Args:
        release: its name.
        loaded: the profile.
        place: where to find the cluster.
        addresses: of the components, for a process inside the cluster, which reaches their Services.

    Raises:
        NoClusterError: it needs a cluster, and none is configured.
    """
    if loaded.profile.runtime is Runtime.KUBERNETES:
        from lightragctl.deploy.runtime import KubernetesRuntime

        return KubernetesRuntime(_connected(place), loaded.profile.namespace, release, lock_holder(), addresses)
    from lightragctl.local.files import ReleaseFiles, data_home
    from lightragctl.local.runtime import LocalRuntime

    return LocalRuntime(release, ReleaseFiles(data_home(place.environ) / release), place.environ)


def _connected(place: RuntimeOptions) -> "ClusterClient":
    """The cluster's client; a malformed kubeconfig, on which the official client crashes, becomes an error."""
    from lightragctl.kube.client import connect
    from lightragctl.kube.model import NoClusterError

    try:
        return connect(place.kubeconfig, place.context)
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        hint = "fix the file, or use another one: --kubeconfig FILE or KUBECONFIG"
        raise NoClusterError(f"the kubeconfig cannot be read: {reason}", hint) from error


def this_user() -> str:
    """Who runs this process: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def lock_holder() -> "LockHolder":
    """The identity of this process as a lock holder; the machine is identified by boot id and PID namespace."""
    from lightragctl.kube.lease import LockHolder, since_boot_s, this_process_lives

    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        machine = f"{start}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        machine = ""
    return LockHolder(
        who=this_user(),
        pid=os.getpid(),
        run=secrets.token_hex(4),
        machine=machine,
        now=functools.partial(datetime.now, UTC),
        alive=this_process_lives,
        clock_s=since_boot_s,
        pause=time.sleep,
    )
