"""The house rules, as far as a count can decide them. Linters and import contracts decide the rest."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from lightragctl.cli.app import build

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lightragctl"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LINES = 600
FUNCTION_LINES = 70
EDGES = {"lightragctl/__main__.py"} | {f"lightragctl/service/{name}.py" for name in ("background", "http", "server")}
ENTRIES = {"lightragctl/__main__.py", "lightragctl/local/supervisor.py"}  # what is run with `python -m`
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "impl"}
FOREIGN = re.compile(
    # put together from parts, or this file would find itself
    r"\.\./"
    + r"shared|/work"
    + r"/|/tmp/bash"
    + r"_jobs|\b(?:ghcr|quay|gcr|registry\.k8s)"
    + r"\.io\b|\bdocker"
    + r"\.io\b"
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_there_is_something_to_judge() -> None:
    assert len(SOURCES) > 40
    assert len(TESTS) > 20


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES + TESTS}
    assert not {name: lines for name, lines in lengths.items() if lines > FILE_LINES}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in SOURCES + TESTS
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not long


def test_nothing_catches_everything() -> None:
    """Only the edges that tell a bug from an expected error catch Exception; others may look at it and pass it on."""
    wide = []
    for path in SOURCES:
        for node in nodes(path):
            if not isinstance(node, ast.ExceptHandler):
                continue
            last = node.body[-1]
            if isinstance(last, ast.Raise) and last.exc is None:
                continue
            caught = (
                set() if node.type is None else {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            )
            if node.type is None or "BaseException" in caught or ("Exception" in caught and named(path) not in EDGES):
                wide.append(f"{named(path)}:{node.lineno}")
    assert not wide


def test_names_say_what_is_inside() -> None:
    assert not [named(path) for path in SOURCES + TESTS if path.stem in VAGUE or path.parent.name in VAGUE]
    vague = re.compile(r"\w*(Manager|Helper|Factory|Impl|Mixin)$")
    classes = [
        f"{named(path)} {node.name}"
        for path in SOURCES
        for node in nodes(path)
        if isinstance(node, ast.ClassDef) and vague.match(node.name)
    ]
    assert not classes


def test_only_the_command_line_prints_and_only_an_entry_exits() -> None:
    found = []
    for path in SOURCES:
        for node in nodes(path):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            edge = path.parent.name == "cli" or path.name == "__main__.py"
            if (called == "print" and not edge) or (called in ("sys.exit", "os._exit") and named(path) not in ENTRIES):
                found.append(f"{named(path)}:{node.lineno} {called}")
    assert not found


IO_MODULES = {
    *("asyncio", "concurrent", "fcntl", "glob", "multiprocessing", "select", "shutil", "signal", "socket", "ssl"),
    *(
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "urllib3",
        "aiohttp",
        "grpc",
        "httptools",
        "httpx",
        "kubernetes",
    ),
    *("psutil", "pymilvus", "requests", "uvloop", "websocket", "random", "secrets", "time", "uuid"),
}
"""What opens something, waits, or is another answer tomorrow."""
IO_CALLS = re.compile(
    r"^(open|print|input|os\.(environ|getenv|open|read|write|stat|listdir)\b.*"
    r"|.*\.(read_text|write_text|read_bytes|write_bytes|mkdir|unlink|exists|iterdir|rglob))$"
)


def impurities(source: str) -> list[str]:
    """What a module that calls itself pure may not do, by its imports and its calls."""
    tree = ast.parse(source)
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {name for name in imported if name.split(".")[0] in IO_MODULES}
    return sorted(found | {name for name in called if IO_CALLS.match(name)})


def test_what_calls_itself_pure_is_pure() -> None:
    """The word stands at the end of a module's docstring; `Pure, but ...` names the exception."""
    pure = {}
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        if re.search(r"\bPure\.", ast.get_docstring(ast.parse(source)) or ""):
            pure[named(path)] = impurities(source)
    assert len(pure) > 70
    assert {name: found for name, found in pure.items() if found} == {}


@pytest.mark.parametrize(
    "source", ["import httpx", "from asyncio import Queue", "import kubernetes.client", "open('x')", "p.read_text()"]
)
def test_an_impurity_is_found(source: str) -> None:
    assert impurities(source)


def test_every_module_says_what_lives_there() -> None:
    assert not [named(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]


def test_every_test_file_asserts_and_patches_nothing_of_ours() -> None:
    cases = [path for path in TESTS if path.name.startswith("test_")]
    text = {named(path): path.read_text(encoding="utf-8") for path in cases}
    assert not [name for name, content in text.items() if not re.search(r"\bassert |pytest\.raises", content)]
    patching = re.compile(r"mock\.patch|MagicMock|monkeypatch\.setattr" + r"\(")
    own = "tests/contract/test_house_rules.py"
    assert not [name for name, content in text.items() if name != own and patching.search(content)]


def test_nothing_tracked_names_a_machine_or_a_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{named(path)}: {match.group()}" for match in FOREIGN.finditer(text)]
    assert not found


def commands_in_text(source: str, commands: set[str]) -> list[str]:
    """Texts that name a command of ours: all but docstrings and help texts, which are shown as they stand."""
    tree = ast.parse(source)
    exempt = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("help", "epilog"):
            exempt |= {id(inner) for inner in ast.walk(node.value)}
    named_command = re.compile(rf"\blightragctl ({'|'.join(sorted(commands))})\b")
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in exempt
        and named_command.search(node.value)
    ]


def test_messages_name_commands_as_data() -> None:
    """`core.hint.Command`, so that the tool can complete them; plain text would lose the release's options."""
    commands = set(getattr(typer.main.get_command(build()), "commands", {}))
    assert {"up", "logs", "golden"} <= commands
    hint = PACKAGE / "core" / "hint.py"
    found = {
        named(path): texts
        for path in SOURCES
        if path != hint
        if (texts := commands_in_text(path.read_text(encoding="utf-8"), commands))
    }
    assert found == {}


def test_a_command_in_a_text_is_found_and_help_is_not() -> None:
    source = '"""See lightragctl up."""\nOption(help="as lightragctl up does")\nhint = f"see: lightragctl up {name}"\n'
    assert commands_in_text(source, {"up"}) == ["see: lightragctl up "]
