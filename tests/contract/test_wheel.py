"""The wheel: installed into a clean environment it works from an empty folder."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL_S = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("build") is None or importlib.util.find_spec("hatchling") is None,
        reason="needs build and hatchling: pip install -e '.[dev]'",
    ),
]


def run(*command: str, cwd: Path, timeout_s: float = 60.0) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run(*build, cwd=folder, timeout_s=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, in an environment of its own; pip compiles nothing there, which is half of its time."""
    folder = tmp_path_factory.mktemp("env")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder, timeout_s=120)
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--no-compile"]
    run(
        *pip,
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
        str(wheel),
        cwd=folder,
        timeout_s=INSTALL_S,
    )
    return folder / "bin" / "lightragctl"


def test_the_wheel_holds_templates_and_profiles_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("templates", "profiles"):
        shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        packed = {
            name.removeprefix("lightragctl/_assets/")
            for name in names
            if name.startswith(f"lightragctl/_assets/{folder}/")
        }
        assert packed == shipped
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lightragctl"}


def test_the_wheel_holds_the_data_that_the_package_reads(wheel: Path) -> None:
    files = {path for path in (ROOT / "lightragctl").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    wanted = {path.relative_to(ROOT).as_posix() for path in files}
    assert "lightragctl/bench/report/page.html.j2" in wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.timeout(INSTALL_S + 240)
def test_an_installed_wheel_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert not os.listdir(tmp_path)
    listed = run(str(installed), "profiles", "list", cwd=tmp_path)
    assert "dev" in listed
    assert "local" in listed
    rendered = run(str(installed), "render", "--profile", "dev", cwd=tmp_path)
    assert rendered == (ROOT / "tests" / "snapshots" / "dev.yaml").read_text(encoding="utf-8")
