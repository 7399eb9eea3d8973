"""What `ingest` says at its end, as text and as data."""

import io

from rich.console import Console

from lightragctl.cli.data import payloads
from lightragctl.cli.views import VIEWS
from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import Result
from lightragctl.ingest.load import Failure, Summary


def ended(**said: object) -> Result:
    plain = {"created": 2, "updated": 0, "unchanged": 0, "failed": (), "chunks": 4, "seconds": 1.0, "chunks_per_s": 4.0}
    return payloads.ingest(Summary(**plain | said), "lightrag-api")  # type: ignore[arg-type]


def shown(result: Result) -> str:
    out = io.StringIO()
    console = Console(file=out, width=10_000)
    for part in VIEWS["ingest"](result.data):
        console.print(part)
    return out.getvalue()


def test_what_is_not_in_the_index_is_named_per_kind_in_text_and_per_document_in_data() -> None:
    result = ended(left_out=(("/a.html", ("navigation", "comments")), ("/b.html", ("navigation",))))
    assert "omitted: navigation: /a.html, /b.html\nomitted: comments: /a.html\n" in shown(result)
    assert result.data["omitted"] == [
        {"source": "/a.html", "content": ["navigation", "comments"]},
        {"source": "/b.html", "content": ["navigation"]},
    ]
    assert result.exit_status == ExitStatus.DONE


def test_where_there_are_too_many_to_name_the_text_says_how_to_see_all() -> None:
    result = ended(left_out=tuple((f"/{number}.html", ("comments",)) for number in range(30)))
    assert "/19.html and 10 more (-o json)" in shown(result)
    assert len(result.data["omitted"]) == 30


def test_the_kinds_of_skipped_files_are_told() -> None:
    result = ended(skipped_kinds=((".png", 2), (".pptx", 1)))
    assert "2 created, 3 skipped" in shown(result)
    assert "skipped (unsupported file type): 2 .png, 1 .pptx" in shown(result)
    assert (result.data["skipped"], result.data["skipped_kinds"]) == (3, {".png": 2, ".pptx": 1})


def test_failures_have_their_hints_and_one_order_everywhere() -> None:
    result = ended(failed=(Failure("/a.txt", "is not UTF-8", "--encoding"), Failure("/b.md", "has no text")))
    assert [(error.message, error.hint) for error in result.errors] == [
        ("/a.txt: is not UTF-8", "--encoding"),
        ("/b.md: has no text", ""),
    ]
    assert [one["source"] for one in result.data["failed"]] == ["/a.txt", "/b.md"]
    assert result.exit_status == ExitStatus.FAILED
