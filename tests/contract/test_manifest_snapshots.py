"""The manifests of a shipped profile, compared with the ones that were last reviewed.

UPDATE_SNAPSHOTS=1 rewrites them; read the difference before you commit it. What a profile leaves to its user comes from
site.yaml beside this file.
"""

import os
from pathlib import Path

import pytest

from lightragctl.core import assets
from lightragctl.core.layers import merge, read_layers, shipped_names
from tests.conftest import Tool

SNAPSHOTS = Path(__file__).resolve().parents[1] / "snapshots"
SITE = Path(__file__).with_name("site.yaml")
PROFILES = assets.root() / "profiles"


def kubernetes_profiles() -> list[str]:
    values = {name: merge(read_layers(name, PROFILES)).values for name in shipped_names(PROFILES)}
    return [name for name, one in values.items() if one["runtime"] == "kubernetes"]


@pytest.mark.parametrize("profile", kubernetes_profiles())
def test_a_profile_renders_to_its_snapshot(tool: Tool, profile: str) -> None:
    asks = "site" in merge(read_layers(profile, PROFILES)).values
    done = tool.run("render", "--profile", profile, *(("--values", str(SITE)) if asks else ()))
    assert done.returncode == 0, done.stderr
    path = SNAPSHOTS / f"{profile}.yaml"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(done.stdout, encoding="utf-8")
    assert done.stdout == path.read_text(encoding="utf-8")


def test_no_snapshot_is_left_over() -> None:
    assert sorted(path.stem for path in SNAPSHOTS.glob("*.yaml")) == kubernetes_profiles()
