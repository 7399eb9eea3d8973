"""The result of `recordings`."""

from lightragctl.cli.data import payloads
from lightragctl.client.recordings import AllRecordings
from lightragctl.core.errors import ExitStatus


def test_missing_replicas_are_a_warning_and_hide_nothing() -> None:
    whole = payloads.recordings(AllRecordings([]))
    assert (whole.exit_status, whole.errors) == (ExitStatus.DONE, ())
    partial = payloads.recordings(AllRecordings([], ["replica a did not answer: gone"]))
    assert (partial.exit_status, partial.status) == (ExitStatus.WARNINGS, "partial")
    assert [(one.code, one.message) for one in partial.errors] == [("replica-silent", "replica a did not answer: gone")]
