"""The one document that a command ends with."""

import pytest

from lightragctl.core import errors
from lightragctl.core.errors import ExitStatus, LightragctlError
from lightragctl.core.result import ErrorInfo, Result, Status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LightragctlError)]


def test_a_good_result_is_flat_and_its_four_keys_come_first() -> None:
    document = Result("up", {"release": "r", "changed": []}).document()
    assert list(document) == ["schema", "command", "status", "errors", "release", "changed"]
    assert document["schema"] == "lightragctl/v1"
    assert document["status"] == "ok"
    assert document["errors"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_carries_code_message_hint_and_exit_status(kind: type[LightragctlError]) -> None:
    result = Result.failure("up", kind("it broke", "mend it"))
    assert result.document() == {
        "schema": "lightragctl/v1",
        "command": "up",
        "status": "failed",
        "errors": [{"code": kind.code, "message": "it broke", "hint": "mend it"}],
    }
    assert result.exit_status is kind.exit_status
    assert result.exit_status is not ExitStatus.DONE


def test_a_partial_result_keeps_its_data_beside_its_errors() -> None:
    result = Result("ingest", {"created": 1}, Status.PARTIAL, [ErrorInfo("document", "x")], ExitStatus.FAILED)
    assert result.document()["created"] == 1
    assert result.document()["status"] == "partial"
    assert result.document()["errors"] == [{"code": "document", "message": "x", "hint": ""}]


def test_a_quiet_result_shows_nothing_more_and_is_done() -> None:
    assert Result.quiet("logs").shown
    assert Result.quiet("logs").exit_status is ExitStatus.DONE
