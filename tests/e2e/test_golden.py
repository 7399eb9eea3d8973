"""The story of a golden set on this machine: built of passages and recorded questions, outdated, built anew."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightragctl.bench import corpus
from lightragctl.client.api import ApiClient
from tests.conftest import Release, Tool, port_settings

DOCUMENTS = Path(corpus.__file__).parent / "data" / "documents"
QUESTIONS = [question.text for question in corpus.questions()][:40]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A release with the shipped documents, whose questions are recorded."""
    base = tmp_path_factory.mktemp("golden")
    (base / "home").mkdir()
    tool = Tool(base / "home", base)
    settings, port = port_settings()
    settings += ["--set", "components.embedder.model=hashing", "--set", "components.lightrag-api.recording.ratio=1"]
    try:
        done = tool.run("up", "--name", "golden", *settings)
        assert done.returncode == 0, done.stderr
        assert tool.run("ingest", str(DOCUMENTS), "--name", "golden").returncode == 0
        with ApiClient(f"http://127.0.0.1:{port}", timeout_s=60.0) as api:
            yield Release(tool, "golden", api)
    finally:
        assert tool.run("down", "--purge", "--yes", "--name", "golden").returncode == 0


def golden(release: Release, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the document of a command on the golden set."""
    done = release.run("golden", *arguments, "-o", "json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def means(report: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["mean"] for one in report["figures"]}


@pytest.mark.slow
def test_a_golden_set_from_its_first_build_to_its_second(release: Release) -> None:
    status, report = golden(release, "check")
    assert (status, report["errors"][0]["code"]) == (1, "no-golden-set")
    assert "lightragctl golden build --name golden" in report["errors"][0]["hint"]
    assert release.api.recordings(100) == []  # what `up` asked was not recorded
    for question in QUESTIONS:
        release.api.retrieve(question, 3)
    status, built = golden(release, "build", "--sample", "40", "--recorded", "40")
    assert (status, built["version"], built["counts"]) == (0, 1, {"row": 40, "recorded": 40})

    status, report = golden(release, "check")
    assert (status, report["scanned"], report["stale"], report["worst"]) == (0, False, [], [])
    assert means(report) == {"recall": 1.0, "end_to_end": 1.0, "overlap": 1.0}
    assert len(release.api.recordings(1000)) == len(QUESTIONS)  # and not what `check` asked

    for document in release.api.list_documents()[:12]:
        release.api.delete_document(id=document.id)
    status, report = golden(release, "check")
    assert (status, report["scanned"], report["errors"][0]["code"]) == (4, True, "stale")
    assert (means(report)["recall"], means(report)["end_to_end"]) == (1.0, 1.0)
    assert 0.4 < means(report)["overlap"] < 0.9
    assert report["changed_answers"] > 60
    assert golden(release, "check", "--min-overlap", "0.95")[0] == 3
    assert "rows, previously" in release.run("golden", "check").stderr

    status, built = golden(release, "build", "--recorded", "0")
    assert (status, built["version"], built["counts"]) == (0, 2, {"row": 50})
    status, shown = golden(release, "show")
    assert (status, shown["versions"], len(shown["queries"])) == (0, [1, 2], 50)
    assert all(len(one["nearest"]) == 10 and one["row"] not in one["nearest"] for one in shown["queries"])
    assert golden(release, "check")[0] == 0
    assert release.run("retrieve", QUESTIONS[0]).returncode == 0


def test_questions_from_a_file_in_another_workspace(release: Release) -> None:
    (release.tool.cwd / "asked.txt").write_text("\n".join(QUESTIONS), encoding="utf-8")
    loaded = release.run("ingest", str(DOCUMENTS / "en-finance-bond-prices.md"), "--workspace", "small")
    assert loaded.returncode == 0, loaded.stderr
    done = release.run("golden", "build", "-w", "small", "--sample", "0", "--questions", "asked.txt", "-k", "2")
    assert done.returncode == 0, done.stderr
    assert "no questions about workspace 'small' recorded yet" in done.stderr
    assert "40 queries (40 questions from a file), their 2 nearest" in done.stdout
    checked = release.run("golden", "check", "-w", "small")
    assert checked.returncode == 0, checked.stderr
    assert "those of the set, still current" in checked.stdout
