"""A command that a message advises can be typed as it stands."""

from pathlib import Path

import pytest

from lightragctl.cli.hints import with_options
from lightragctl.cli.options import GlobalOptions
from lightragctl.core.errors import LightragctlError
from lightragctl.core.result import Result

DEV = GlobalOptions(profile="dev", name="two", namespace="team-a", set=["quota.cpu=4"], values=[Path("my values.yaml")])
HERE = "--profile dev --name two -n team-a"


def hint(text: str, options: GlobalOptions) -> str:
    result = Result.failure("up", LightragctlError("it failed", text))
    return with_options(result, options.place, options.overrides).errors[0].hint


@pytest.mark.parametrize(
    ("advised", "typed"),
    [
        ("see more: lightragctl logs embedder", f"see more: lightragctl logs {HERE} embedder"),
        ("see `lightragctl status`; or wait", f"see `lightragctl status {HERE}`; or wait"),
        ("lightragctl up", f"lightragctl up {HERE} --values 'my values.yaml' --set quota.cpu=4"),
        ("see: lightragctl --help", "see: lightragctl --help"),
        ("lightragctl profiles list", "lightragctl profiles list"),
    ],
)
def test_an_advised_command_names_the_same_release(advised: str, typed: str) -> None:
    assert hint(advised, DEV) == typed


def test_without_options_nothing_is_added() -> None:
    assert hint("see: lightragctl status", GlobalOptions()) == "see: lightragctl status"


def test_what_a_release_says_of_itself_is_completed_too() -> None:
    said = Result("status", {"message": "stopped; start it: lightragctl up", "release": "two"})
    result = with_options(said, DEV.place, DEV.overrides)
    assert result.data == {
        "message": f"stopped; start it: lightragctl up {HERE} --values 'my values.yaml' --set quota.cpu=4",
        "release": "two",
    }
