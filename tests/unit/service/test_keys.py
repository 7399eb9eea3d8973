"""API keys: who is answered, and how they are changed."""

import os
from pathlib import Path

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.service.answers import Problem
from lightragctl.service.http import Request
from lightragctl.service.keys import LOOK_S, ApiKeys


class Clock:
    """A clock that the test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def receive() -> dict[str, object]:
    raise AssertionError("no body is read")


def request(**headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"method": "POST", "path": "/retrieve", "headers": named}, receive, 1)


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
    clock.now_s = LOOK_S
    keys.admit(request(x_api_key="newest"))
    with pytest.raises(Problem):
        keys.admit(request(x_api_key="old"))


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_a_file_that_becomes_unusable_leaves_the_keys_as_they_were(file: Path, text: str | None) -> None:
    clock = Clock()
    keys = ApiKeys(file, clock)
    file.unlink() if text is None else file.write_text(text)
    clock.now_s = LOOK_S
    keys.admit(request(x_api_key="old"))


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_a_start_without_keys_fails_with_the_reason(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LightragctlError, match="API key"):
        ApiKeys(path)
