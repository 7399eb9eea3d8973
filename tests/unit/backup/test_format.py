"""The documented format: the script in the reference reads a backup without us."""

import json
import re
import subprocess
import sys
from pathlib import Path

from lightragctl.backup.manifest import CollectionEntry, Manifest
from lightragctl.backup.storage import open_storage
from tests.fakes.backup import CHUNKS, Workspace, row
from tests.unit.backup.test_create import backed_up

PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/backup-format.md").read_text(encoding="utf-8")


def test_the_script_of_the_reference_reads_every_row(tmp_path: Path) -> None:
    script = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert script is not None
    workspace, storage = Workspace(), open_storage(f"file://{tmp_path}")
    workspace.fill(20)
    backed_up(workspace, storage)
    workspace.store.upsert(CHUNKS, [row("k0003", seed=4)])
    workspace.store.delete(CHUNKS, ["k0005"])
    id = backed_up(workspace, storage).id
    command = [sys.executable, "-c", script[1], tmp_path, id, CHUNKS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
    rows = workspace.store.collections[CHUNKS].rows
    assert found.keys() == rows.keys()
    assert all(found[key]["vector"] == rows[key]["vector"].tolist() for key in rows)
    assert found["k0004"]["content"] == "text of k0004"


def test_every_key_of_the_manifest_is_documented() -> None:
    for model in (Manifest, CollectionEntry):
        assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []
