"""Live objects compared with predicted ones."""

from typing import Any

from lightragctl.core.runtime import Action
from lightragctl.deploy.changeset import HIDDEN, change, deletion, difference


def config(value: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "n", **metadata},
        "data": {"key": value},
    }


def secret(value: str) -> dict[str, Any]:
    return {**config(value), "kind": "Secret"}


def test_what_is_not_there_is_created() -> None:
    assert change(None, config("1")).action is Action.CREATED


def test_what_only_the_server_writes_is_no_change() -> None:
    live = {**config("1", resourceVersion="5", uid="u", managedFields=[1], generation=1), "status": {"x": 1}}
    predicted = config("1", resourceVersion="6", uid="u", managedFields=[2], generation=2)
    assert change(live, predicted).action is Action.UNCHANGED


def test_a_changed_value_is_shown_with_both_sides() -> None:
    seen = difference(change(config("1"), config("2")), b"key")
    assert seen.action is Action.CONFIGURED
    assert "-  key: '1'" in seen.text
    assert "+  key: '2'" in seen.text


def test_a_secret_shows_that_it_changed_and_not_to_what() -> None:
    seen = difference(change(secret("b2xk"), secret("bmV3")), b"key")
    lines = [line for line in seen.text.splitlines()[2:] if line[0] in "+-"]
    assert len(lines) == 2
    assert all(HIDDEN in line for line in lines)
    assert lines[0][1:] != lines[1][1:]
    assert "b2xk" not in seen.text
    assert "bmV3" not in seen.text


def test_an_equal_secret_is_unchanged_and_another_run_hashes_otherwise() -> None:
    assert difference(change(secret("a"), secret("a")), b"key").text == ""
    first, second = (difference(change(None, secret("a")), key).text for key in (b"one", b"two"))
    assert first != second


def test_a_deleted_secret_is_masked_too() -> None:
    seen = difference(deletion(secret("cGFzcw==")), b"key")
    assert seen.action is Action.DELETED
    assert "cGFzcw==" not in seen.text
