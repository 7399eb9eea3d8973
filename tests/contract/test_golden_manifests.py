"""The manifests of a shipped profile, compared with the ones that were last reviewed.

UPDATE_GOLDEN=1 writes them anew; the difference is read before it is kept.
"""

import os
from pathlib import Path

import pytest
import yaml

from lightragctl.core import assets
from tests.conftest import Tool

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def kubernetes_profiles() -> list[str]:
    paths = sorted((assets.root() / "profiles").glob("*.yaml"))
    return [path.stem for path in paths if yaml.safe_load(path.read_text(encoding="utf-8"))["runtime"] == "kubernetes"]


@pytest.mark.parametrize("profile", kubernetes_profiles())
def test_a_profile_renders_to_its_golden_manifests(tool: Tool, profile: str) -> None:
    done = tool.run("render", "--profile", profile)
    assert done.returncode == 0, done.stderr
    path = GOLDEN / f"{profile}.yaml"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(done.stdout, encoding="utf-8")
    assert done.stdout == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == kubernetes_profiles()
