"""A release closes what was opened through it, and a release of another profile beside it."""

from pathlib import Path
from typing import Any, cast

import pytest

from lightragctl.core.errors import ProfileError, RefusedError, UsageError
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.release.release import Release, ReleaseOptions
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import lock_holder


class Resource:
    """Something open, which writes down when it is closed."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self.closed = closed

    def close(self) -> None:
        self.closed.append(self.name)


def test_what_was_opened_is_closed_in_the_reverse_order() -> None:
    closed: list[str] = []
    with Release(ReleaseOptions(), {}) as release:
        release.closing(Resource("first", closed))
        release.of_profile("dev").closing(Resource("of dev", closed))
        release.closing(Resource("last", closed))
        assert not closed
    assert closed == ["last", "of dev", "first"]


def test_it_is_closed_after_an_error_too() -> None:
    closed: list[str] = []

    def fail() -> None:
        with Release(ReleaseOptions(), {}) as release:
            release.closing(Resource("one", closed))
            raise UsageError("no")

    with pytest.raises(UsageError):
        fail()
    assert closed == ["one"]


def test_nothing_is_read_before_it_is_used(tmp_path: Path) -> None:
    with Release(ReleaseOptions(profile=str(tmp_path / "missing.yaml")), {}) as release, pytest.raises(ProfileError):
        _ = release.loaded


def test_the_release_is_named_as_its_profile_unless_a_name_is_given() -> None:
    assert Release(ReleaseOptions(profile="dev"), {}).name == "dev"
    assert Release(ReleaseOptions(profile="dev", name="two"), {}).plan.release == "two"
    with pytest.raises(UsageError, match="not a valid release name"):
        _ = Release(ReleaseOptions(name="No Name"), {}).name


def test_another_profile_has_its_own_name_and_the_same_overrides() -> None:
    options = ReleaseOptions(profile="local", name="two", assignments=("chunking.size_tokens=128",))
    with Release(options, {}) as release:
        other = release.of_profile("dev")
        assert (other.name, other.loaded.profile.chunking.size_tokens) == ("dev", 128)


PROFILE_HINT = "on Kubernetes: lightragctl {} --profile dev; here: lightragctl up with the earlier profile"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("history", PROFILE_HINT.format("history")),
        ("rollback", PROFILE_HINT.format("rollback")),
        ("unlock", "the lock of a local release ends with the process that holds it"),
    ],
)
def test_a_release_of_local_processes_has_no_revisions(command: str, hint: str) -> None:
    with Release(ReleaseOptions(), {}) as release, pytest.raises(RefusedError) as caught:
        release.revisions(command)
    assert command in caught.value.message
    assert caught.value.hint == hint


def test_a_release_on_kubernetes_has_revisions() -> None:
    with Release(ReleaseOptions(), {}) as release:
        release.runtime = KubernetesRuntime(cast(Any, FakeCluster()), "lightrag", "dev", lock_holder())
        assert release.revisions("history") is release.runtime
