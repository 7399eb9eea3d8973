"""The Dockerfile, for people, and the image of the test cluster say the same; no Docker is needed to see that."""

import re

from tests.cluster import images
from tests.cluster.kept import CHECKOUT

DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


def instruction(name: str) -> str:
    """What the last such instruction of the file says."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1]


def test_both_run_the_same_program_as_the_same_user_in_the_same_folder() -> None:
    config = images.settings()
    assert instruction("USER") == config["User"]
    assert instruction("WORKDIR") == config["WorkingDir"]
    assert instruction("ENTRYPOINT") == str(config["Entrypoint"]).replace("'", '"')
    assert all(line.partition("=")[2].split(":")[0] in DOCKERFILE for line in config["Env"])


def test_both_have_the_same_python_and_the_same_extras_and_pins() -> None:
    assert instruction("FROM") == f"python:{images.PYTHON}-slim-{images.SUITE}"
    assert f"-c constraints.txt '.[{','.join(images.EXTRAS)}]'" in DOCKERFILE
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert copied == {*images.OURS, "constraints.txt"}


def test_the_user_is_the_one_of_the_manifests() -> None:
    manifests = (CHECKOUT / "tests" / "golden" / "dev.yaml").read_text()
    assert set(re.findall(r"runAsUser: (\d+)", manifests)) == {str(images.USER)}
