"""The image lacks the packages of the load generator and of document parsers; its commands import none of them."""

import subprocess
import sys

ABSENT = ("hdrh", "chardet", "mammoth", "markdownify", "pypdfium2", "selectolax", "lightrag", "pytest")
"""Import names of the extras `bench`, `ingest`, `lightrag` and `dev` that the other extras do not bring."""

COMMANDS = (
    "lightragctl.cli.operations.kinds",
    "lightragctl.cli.operations.driving",
    "lightragctl.cli.operations.steering",
    "lightragctl.cli.backup.commands",
    "lightragctl.cli.index.commands",
    "lightragctl.service.api",
    "lightragctl.service.gateway",
)
"""What a Job of an operation, a CronJob and the services import."""

SCRIPT = """
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {commands}:
    importlib.import_module(name)
"""


def test_operations_and_services_start_with_the_packages_of_the_image() -> None:
    script = SCRIPT.format(absent=set(ABSENT), commands=COMMANDS)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
