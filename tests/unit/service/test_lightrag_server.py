"""The launcher of upstream's server, as far as it needs no server: its lock, and the vocabulary that it brings."""

import asyncio
import os
from pathlib import Path

import pytest

from lightragctl.core.errors import LockedError
from lightragctl.service.lightrag_server import copy_vocabulary, storage_lock

NAME = "fb374d419588a4632f3f557e76b4b70aebbca790"


def test_a_second_writer_is_refused_with_the_folder(tmp_path: Path) -> None:
    async def twice() -> None:
        async with storage_lock(tmp_path, 0.0), storage_lock(tmp_path, 0.0):
            pass

    with pytest.raises(LockedError, match=f"another lightrag-server holds the lock of {tmp_path}"):
        asyncio.run(twice())


def test_the_folder_is_free_when_the_last_holder_is_gone(tmp_path: Path) -> None:
    async def one_after_the_other() -> None:
        async with storage_lock(tmp_path, 0.0) as descriptor:
            inherited = os.dup(descriptor)  # as a child process holds it
        with pytest.raises(LockedError):
            async with storage_lock(tmp_path, 0.0):
                pass
        os.close(inherited)
        async with storage_lock(tmp_path, 0.0):
            pass

    asyncio.run(one_after_the_other())


def test_the_vocabulary_of_an_installed_package_is_copied_once(tmp_path: Path) -> None:
    package = tmp_path / "llama_index"
    cache = package / "core" / "_static" / "tiktoken_cache"
    cache.mkdir(parents=True)
    (cache / NAME).write_text("words")
    (cache / ".gitignore").write_text("*")
    folder = copy_vocabulary(tmp_path / "release", [str(package)])
    assert [file.name for file in folder.iterdir()] == [NAME]
    (folder / NAME).write_text("kept")
    copy_vocabulary(folder, [str(package)])
    assert (folder / NAME).read_text() == "kept"
