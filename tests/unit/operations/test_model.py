"""The record as text: what is written is read back, and another version's record is never misread."""

import json

import pytest

from lightragctl.core.errors import LightragctlError
from lightragctl.operations.kind import Hold, OperationKind, Step
from lightragctl.operations.model import MAX_BYTES, SCHEMA, Phase, from_text, to_text
from tests.fakes.operations import STEPS, move


def test_what_is_written_is_read_back() -> None:
    record = move().changed(phase=Phase.FAILED, cause="知识", originals={"replicas": 3})
    assert from_text(to_text(record), "here") == record
    assert json.loads(to_text(record))["open"] is True
    assert json.loads(to_text(record.changed(phase=Phase.ABORTED)))["open"] is False


@pytest.mark.parametrize(("schema", "age"), [(SCHEMA + 1, "newer"), (SCHEMA - 1, "older")])
def test_a_record_in_another_format_is_refused_by_the_version_that_wrote_it(schema: int, age: str) -> None:
    document = {**json.loads(to_text(move())), "schema_version": schema, "version": "9.9", "what": "unknown here"}
    with pytest.raises(LightragctlError, match=f"lightragctl 9.9 in the {age} format {schema}") as caught:
        from_text(json.dumps(document), "file x")
    assert caught.value.hint == "continue it with lightragctl 9.9"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1, "version": "1"}', "{"])
def test_a_damaged_record_is_no_operation(text: str) -> None:
    with pytest.raises(LightragctlError, match="file x is not an operation record"):
        from_text(text, "file x")


def test_a_record_that_grows_without_bound_is_refused() -> None:
    with pytest.raises(LightragctlError, match="the limit is"):
        to_text(move().changed(results={"rows": "x" * MAX_BYTES}))


def test_a_kind_that_could_not_give_back_is_no_kind() -> None:
    with pytest.raises(ValueError, match="has no undo"):
        Step("a", "a", 1.0, lambda c: None, lambda c: True, hold=Hold("a"))
    with pytest.raises(ValueError, match="held through no step"):
        OperationKind("x", 1, STEPS[:1], 1.0)
