"""What is shown of a URL with credentials, and what is sent."""

import base64

import pytest

from lightragctl.core.urls import basic_credentials, secrets, shown


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/a/b@c", "http://[::1]:8080/a/b@c"),
        ("http://me:p%40ss@127.0.0.1:9931/v1", "http://***@127.0.0.1:9931/v1"),
        ("http://token@h", "http://***@h"),
        ("https://h/?api_key=s3cret&version=2&s3cret", "https://h/?api_key=***&version=***&***"),
        ("https://h/#access_token=s3cret", "https://h/"),
        ("http://me:s3/cret@h:80/x", "http://***@h:80/x"),
        ("http://me:s3@cret/x@h:80/y", "http://***@h:80/y"),
        ("http://me:s3?cret@h", "http://***@h"),
        ("http://me:s3#cret@h", "http://***@h"),
        ("http://me:s3cret@h:99999/?k=s3cret", "http://***@h:99999/"),
        ("me:s3cret@h", "***@h"),
        ("nonsense", "nonsense"),
    ],
)
def test_no_secret_of_a_url_is_shown(url: str, wanted: str) -> None:
    assert shown(url) == wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://me:p%40ss@h", "me:p@ss"),
        ("http://me@h", "me:"),
        ("http://:key@h", ":key"),
        ("http://na%C3%AFve:pw@h", "naïve:pw"),
        ("http://h", None),
        ("http://@h", None),
    ],
)
def test_user_and_password_are_sent_as_they_are_meant(url: str, wanted: str | None) -> None:
    sent = basic_credentials(url)
    assert (None if sent is None else base64.b64decode(sent).decode()) == wanted


def test_all_forms_of_a_secret_are_known() -> None:
    assert secrets("http://me:p%40ss@h/?key=a%2Bbc&version=2") == ["p%40ss", "p@ss", "bWU6cEBzcw==", "a+bc"]
