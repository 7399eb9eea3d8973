"""What a load test asks, of whom, and whose key is sent."""

from pathlib import Path

import pytest

from lightragctl.core.errors import UsageError
from lightragctl.release.benchmark import given_key, sides
from lightragctl.release.load_spec import API_KEY, LoadSpec
from lightragctl.release.release import Release, ReleaseOptions

FILE = Path("key")


@pytest.mark.parametrize(
    ("load", "told"),
    [
        (LoadSpec(questions=FILE, scenario="topics"), "--questions"),
        (LoadSpec(model="m"), ""),
        (LoadSpec(api_key_file=FILE), "--api-key-file applies only"),
        (LoadSpec(kind="milvus", url="http://m", api_key_file=FILE), "--api-key-file applies only"),
    ],
)
def test_options_of_what_is_asked_that_mean_nothing_are_refused(load: LoadSpec, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load.check()
    assert caught.value.hint


def test_the_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k-1\n")
    assert given_key(file, {API_KEY: "k-2"}) == "k-1"
    assert given_key(None, {API_KEY: "k-2"}) == "k-2"
    assert given_key(None, {}) is None
    file.write_text("\n")
    with pytest.raises(UsageError, match="contains no API key"):
        given_key(file, {})
    with pytest.raises(UsageError, match="cannot read the API key"):
        given_key(tmp_path / "nope", {})


@pytest.mark.parametrize("side", ["HTTP://me:s3cret@127.0.0.1:1", "ftp://me:s3cret@h", "http:// me:s3cret@h"])
def test_an_address_of_a_side_is_never_taken_for_a_profile(side: str) -> None:
    (source, _) = sides(Release(ReleaseOptions(), {}), LoadSpec(), (side, "local"), lambda _: None)
    assert source.load.url == side
    assert "s3cret" not in source.target().shown


def test_both_sides_of_a_comparison_are_asked_the_same_questions(tmp_path: Path) -> None:
    release = Release(ReleaseOptions(), {})
    (tmp_path / "asked.txt").write_text("one\ntwo\n")
    load = LoadSpec(questions=tmp_path / "asked.txt", distinct=5)
    url, profile = sides(release, load, ("http://a", "local"), lambda _: None)
    assert url.lead is profile, "the questions are those of the release"
    assert url.asked is profile.asked
    first, second = sides(release, load, ("http://a", "http://b"), lambda _: None)
    assert second.asked is first.asked
    assert len(first.asked.questions) == 5
