"""A command that a message advises can be typed as it stands."""

from pathlib import Path

import pytest

from lightragctl.cli.hints import with_options
from lightragctl.cli.options import GlobalOptions
from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Result

DEV = GlobalOptions(profile="dev", name="two", namespace="team-a", set=["quota.cpu=4"], values=[Path("my values.yaml")])
HERE = "--profile dev --name two -n team-a"


def hint(given: str, options: GlobalOptions) -> str:
    result = Result.failure("up", LightragctlError("it failed", given))
    return with_options(result, options.place, options.overrides).errors[0].hint


@pytest.mark.parametrize(
    ("advised", "typed"),
    [
        (Hint("see more: ", Command("logs", "embedder")), f"see more: lightragctl logs {HERE} embedder"),
        (Hint("see `", Command("status"), "`; or wait"), f"see `lightragctl status {HERE}`; or wait"),
        (Hint(Command("up")), f"lightragctl up {HERE} --values 'my values.yaml' --set quota.cpu=4"),
        (Hint(Command("golden build", "-k 20")), f"lightragctl golden build {HERE} -k 20"),
        (Hint(Command("profiles list")), "lightragctl profiles list"),
        (
            Hint(Command("history", "--profile prod")),
            "lightragctl history --name two -n team-a --profile prod",
        ),
        ("see the documentation of lightragctl status", "see the documentation of lightragctl status"),
    ],
)
def test_an_advised_command_names_the_same_release(advised: str, typed: str) -> None:
    assert hint(advised, DEV) == typed


def test_without_options_nothing_is_added() -> None:
    assert hint(Hint("see: ", Command("status")), GlobalOptions()) == "see: lightragctl status"


def test_hints_in_a_payload_are_completed_too() -> None:
    message = Hint("stopped; start it: ", Command("up"))
    status = Result("status", {"message": message, "release": "two", "warnings": [Hint("see: ", Command("status"))]})
    result = with_options(status, DEV.place, DEV.overrides)
    assert result.data == {
        "message": f"stopped; start it: lightragctl up {HERE} --values 'my values.yaml' --set quota.cpu=4",
        "release": "two",
        "warnings": [f"see: lightragctl status {HERE}"],
    }
