"""Drills: images with one fault each are rolled back, identical ones are not; what both take is measured."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster.faults import FAULTS, name_of
from tests.cluster.fixture import ReadyCluster
from tests.cluster.images import SAME
from tests.e2e.cluster_stories import SMALL, ClusterRelease, release_on
from tests.e2e.test_upgrade import NODE_PORT, images, load, upgrade

pytestmark = [pytest.mark.cluster, pytest.mark.drill, pytest.mark.timeout(1800)]

OPTIONS = (
    *SMALL,
    *("--set", "components.lightrag-api.replicas=2"),
    *("--set", "components.lightrag-api.api_key=none"),
    *("--set", "components.lightrag-api.resources.requests.cpu=100m"),
    *("--set", f"components.lightrag-api.expose={{type: NodePort, node_port: {NODE_PORT}}}"),
    *("--set", "upgrade.gates.slow.enabled=false"),
    *("--set", "upgrade.gates.mean.limit=0.05"),
    *("--set", "upgrade.gates.mean.tolerance=0.1"),
    *("--set", "upgrade.gates.ready.limit=0.5"),
)
"""All gates but `slow`, and 50 ms more for `mean`: where all share two processors a pod is slower for many reasons."""
OBSERVE = {"crash": "240s"}
THINGS = ("valve", "pump", "boiler", "turbine", "gearbox", "bearing", "compressor", "condenser", "filter", "sensor")
FACTS = ("opens in {} seconds", "weighs {} kilograms", "was built in 19{}", "costs {} coins", "turns {} times a minute")


@pytest.fixture(scope="module")
def release(cluster: ReadyCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRelease]:
    """A release with 200 documents and a golden set of them."""
    with release_on(cluster, tmp_path_factory.mktemp("faults"), "faults", *OPTIONS) as release:
        done = release.up()
        assert done.returncode == 0, done.stderr
        folder = release.tool.cwd / "documents"
        folder.mkdir()
        for number in range(200):
            thing, fact = THINGS[number % 10], FACTS[number // 10 % 5].format(10 + number % 83)
            (folder / f"{number}.md").write_text(f"The {thing} number {number} in hall {number % 17} {fact}.")
        for words in (("ingest", "documents"), ("golden", "build")):
            done = release.run(*words)
            assert done.returncode == 0, done.stderr
        yield release


def measured(result: dict[str, Any], saved: Path) -> dict[str, Any]:
    """What an upgrade took: seconds from the first look or the start of the canary to its end, requests harmed."""
    steps = {one["name"]: one for one in result["steps"]}
    began = datetime.fromisoformat(steps["watch-1"]["began_at"] or steps["canary"]["began_at"])
    failed = [one for one in result["steps"] if one["state"] == "failed"]
    decided = datetime.fromisoformat(failed[0]["ended_at"]) if failed else began
    watched = result["results"].get("watch", {}).get("components", {}).get("lightrag-api", {})
    canary = sum(row[1] for row in watched.get("history", ()))
    load_result = json.loads(saved.read_text())
    found = load_result["outcomes"]
    return {
        "status": result["status_code"],
        "detected_s": round((decided - began).total_seconds()),
        "requests": load_result["requests"],
        "to_canary": round(canary),
        "failed": load_result["requests"] - found.get("ok", 0),
        "cause": result["cause"][:300],
    }


def tell(name: str, found: dict[str, Any]) -> None:
    """Print the row, and add it to the file that LIGHTRAGCTL_DRILL names."""
    line = json.dumps({"drill": name, **found})
    print(f"\n{line}")
    if file := os.environ.get("LIGHTRAGCTL_DRILL"):
        with Path(file).open("a") as rows:
            rows.write(f"{line}\n")


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_is_found_and_rolled_back(release: ClusterRelease, tmp_path: Path, fault: str) -> None:
    with load(release, tmp_path / "load.json"):
        found = upgrade(release, name_of(fault), "--foreground", observe=OBSERVE.get(fault, "120s"))
    tell(fault, measured(found, tmp_path / "load.json"))
    assert found["status_code"] == 7, found["stderr"]
    assert images(release) == {"lightragctl:latest"}


@pytest.mark.parametrize("number", range(10))
def test_an_identical_version_is_promoted(release: ClusterRelease, tmp_path: Path, number: int) -> None:
    """There and back: two tags of one image."""
    image = image_of(release)
    with load(release, tmp_path / "load.json"):
        found = upgrade(release, image, "--foreground")
    tell(f"identical {number}", measured(found, tmp_path / "load.json"))
    assert found["status_code"] == 0, found["stderr"]
    assert images(release) == {image}


def operation_of(release: ClusterRelease) -> dict[str, Any]:
    """The open operation, else the newest."""
    return dict(json.loads(release.run("operations", "status", "-o", "json").stdout))


def image_of(release: ClusterRelease) -> str:
    """That which the stable pods do not have now."""
    return SAME if images(release) == {"lightragctl:latest"} else "lightragctl:latest"


def words_of(release: ClusterRelease, image: str, *more: str) -> list[str]:
    tag = image.partition(":")[2]
    return release.words("upgrade", "--canary", "--observe", "60s", "--image", f"lightrag-api={tag}", *more)


def test_kills_at_random_moments_lead_to_one_end(release: ClusterRelease, tmp_path: Path) -> None:
    """20 of them, in one upgrade after the other; each is resumed by another process."""
    random = Random(16)
    kills = ended = 0
    with load(release, tmp_path / "load.json"):
        while kills < 20:
            image = image_of(release)
            process = release.tool.popen(*words_of(release, image, "--foreground"), stderr=subprocess.DEVNULL)
            while True:
                try:
                    process.wait(random.uniform(4, 25) if kills < 20 else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    found = operation_of(release)
                    if not found.get("open"):
                        break
                    resume = release.words("operations", "resume", found["id"], "--foreground")
                    process = release.tool.popen(*resume, stderr=subprocess.DEVNULL)
            found = operation_of(release)
            tell(f"kill -9, {kills} so far", {key: found[key] for key in ("id", "phase", "cause")})
            if found["phase"] == "succeeded":
                ended += 1
                assert images(release) == {image}
    assert ended, "not one upgrade came to its end"
    assert not operation_of(release)["open"]
    result = json.loads((tmp_path / "load.json").read_text())
    tell("kill -9", {"kills": kills, "upgrades": ended, "requests": result["requests"], "outcomes": result["outcomes"]})
    assert result["outcomes"].keys() == {"ok"}


def test_a_second_operator_is_refused_and_the_job_goes_on_without_the_first(
    release: ClusterRelease, tmp_path: Path
) -> None:
    image = image_of(release)
    with load(release, tmp_path / "load.json"):
        process = release.tool.popen(*words_of(release, image), stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert any("watch-1" in line for line in process.stderr)
        second = release.run("upgrade", "--canary", "--image", f"lightrag-api={image.partition(':')[2]}", "--yes")
        assert second.returncode == 6, second.stderr
        process.kill()
        process.wait()
        followed = release.run("operations", "status", "--watch", "-o", "json")
    found = json.loads(followed.stdout)
    tell("laptop disconnects", {"phase": found["phase"], "in_job": found["in_job"], "second": second.returncode})
    assert found["phase"] == "succeeded", followed.stderr
    assert images(release) == {image}
