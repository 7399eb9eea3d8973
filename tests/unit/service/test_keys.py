"""API keys: who is answered, and how they are changed."""

import os
from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.service.http import Request
from lightragctl.service.keys import REREAD_S, ApiKeys
from lightragctl.service.responses import Problem
from tests.fakes.http import raw_headers


class Clock:
    """A clock that the test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def request(**headers: str) -> Request:
    return Request(
        "POST", b"/retrieve", raw_headers({name.replace("_", "-"): value for name, value in headers.items()})
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("old\n\n  new  \n")
    return path


@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer old"}, {"authorization": "bearer new"}, {"x_api_key": "new"}]
)
def test_each_key_of_the_file_is_taken_either_way(file: Path, headers: dict[str, str]) -> None:
    ApiKeys(file).admit(request(**headers))


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer "}, {"authorization": "Basic old"}, {"x_api_key": "o"}, {"x_api_key": "clé"}],
)
def test_everything_else_is_refused_with_what_to_send(file: Path, headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        ApiKeys(file).admit(request(**headers))
    assert caught.value.status == 401
    assert ("www-authenticate", "Bearer") in caught.value.headers
    assert "old" not in str(caught.value)


def test_a_rotated_file_is_read_again_without_a_restart(file: Path, tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    (tmp_path / "next").write_text("newest")
    os.replace(tmp_path / "next", file)
    clock.now_s = REREAD_S
    keys.admit(request(x_api_key="newest"))
    with pytest.raises(Problem):
        keys.admit(request(x_api_key="old"))


def test_a_secret_that_the_cluster_swaps_is_read_again(tmp_path: Path) -> None:
    """A mounted Secret is a link to a folder of each version, and the link is replaced."""
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "api-keys").write_text(version)
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "api-keys").symlink_to("..data/api-keys")
    clock = Clock()
    keys = ApiKeys(tmp_path / "api-keys", clock)
    (tmp_path / "..new").symlink_to("second")
    os.replace(tmp_path / "..new", tmp_path / "..data")
    clock.now_s = REREAD_S
    keys.admit(request(x_api_key="second"))


@pytest.mark.parametrize("text", [None, "", "\n \n", "sesam öffne dich"])
def test_a_file_that_becomes_unusable_leaves_the_keys_as_they_were(
    file: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    file.unlink() if text is None else file.write_text(text)
    for _ in range(3):
        clock.now_s += REREAD_S
        keys.admit(request(x_api_key="old"))
    assert len(caplog.records) == 1
    assert "sesam" not in caplog.text


@pytest.mark.parametrize("text", [None, "", "\n \n", "two words", "clé"])
def test_a_start_without_usable_keys_fails_with_the_reason(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LightragctlError, match="API key") as caught:
        ApiKeys(path)
    assert caught.value.hint
    assert caught.value.exit_status == 1
    assert not text or not text.strip() or text not in str(caught.value)
