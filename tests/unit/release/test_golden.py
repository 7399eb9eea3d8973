"""Which recorded questions a golden set takes."""

from lightragctl.client.api import RecordedQuestion
from lightragctl.release.golden import plain


def test_only_questions_that_can_be_asked_again_alike_are_taken_of_the_recorded() -> None:
    def asked(query: str, workspace: str = "mine", kind: str = "chunks", filter: str = "") -> RecordedQuestion:
        return RecordedQuestion(
            at=1.0,
            workspace=workspace,
            query=query,
            top_k=5,
            kind=kind,
            filter=filter,
            collection="c",
            ids=[],
            took_ms=1.0,
        )

    found = [asked("a"), asked("b", "other"), asked("c", kind="entities"), asked("d", filter='source == "x"')]
    assert [one.query for one in plain(found, "mine")] == ["a"]
