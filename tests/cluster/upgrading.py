"""Images for drills of upgrades: older versions of Milvus and LightRAG, and a Milvus that finds the farthest rows."""

import inspect
import shutil
import zipfile
from functools import partial
from pathlib import Path

from tests.cluster.archive import Image
from tests.cluster.images import (
    VENV,
    base,
    dependencies,
    lightrag_image,
    lightrag_libraries,
    milvus_image,
    pack,
    pip,
    precompile,
    recipe,
    site,
)
from tests.cluster.kept import digest, kept

OLDER = ("2.3.0", "2.3.1")
LIGHTRAG, OLDER_LIGHTRAG = "1.5.7", "1.5.6"
WRONG_TAG = "v2.3.5-wrong"
_HOME, _PORT = "wrong", 29530
_START = f"""#!/bin/sh
# Milvus on another port, and before it a proxy on its own.
env PROXY_PORT={_PORT} /milvus/bin/milvus "$@" &
milvus=$!
env -u LD_LIBRARY_PATH /{VENV}/bin/python /{_HOME}/proxy.py "$PROXY_PORT" {_PORT} &
trap 'kill -TERM $milvus' TERM
wait $milvus
wait $milvus
"""


def upgrade_images() -> list[Image]:
    """All of them."""
    return [*map(milvus_image, OLDER), wrong_image()]


def lightrag_images() -> list[Image]:
    """lightrag-server with LightRAG of two versions, which are their tags; what it needs is the same."""
    whole, name = lightrag_image(), lightrag_image().name.rpartition(":")[0]
    below = (lightrag_libraries() / "sha256").read_text()
    layer = kept(f"layer-lightrag-{OLDER_LIGHTRAG}-{digest(recipe(make_older_lightrag), below)}", make_older_lightrag)
    older = Image(f"{name}:{OLDER_LIGHTRAG}", (*whole.layers, layer), whole.config)
    return [older, lightrag_image(f"{name}:{LIGHTRAG}")]


def make_older_lightrag(target: Path) -> None:
    """Its package in the place of the pinned one, which whiteouts of the layer hide."""
    root, wheels = target / "root", target / "wheels"
    packages = site(root)
    packages.mkdir(parents=True)
    pip("download", "--quiet", "--no-deps", "--dest", str(wheels), f"lightrag-hku=={OLDER_LIGHTRAG}")
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        archive.extractall(packages)
    shutil.rmtree(wheels)
    precompile(root)
    (packages / "lightrag" / ".wh..wh..opq").touch()
    (packages / f".wh.lightrag_hku-{LIGHTRAG}.dist-info").touch()
    pack(root, target)


def wrong_image() -> Image:
    """The usual Milvus behind a proxy that negates the vectors that are searched for."""
    whole = milvus_image("2.3.5")
    source = inspect.getsource(_proxy())
    layer = kept(f"layer-wrong-milvus-{digest(recipe(make_wrong), _START, source)}", partial(make_wrong, source))
    env = [f"PATH=/{_HOME}/bin:/milvus/bin:/usr/bin:/bin", *whole.config["Env"][1:]]
    layers = (base(), dependencies(), *whole.layers[1:], layer)
    return Image(f"milvusdb/milvus:{WRONG_TAG}", layers, {**whole.config, "Env": env})


def make_wrong(source: str, target: Path) -> None:
    """The proxy, and what starts both."""
    folder = target / "root" / _HOME / "bin"
    folder.mkdir(parents=True)
    (folder.parent / "proxy.py").write_text(source)
    (folder / "milvus").write_text(_START)
    (folder / "milvus").chmod(0o755)
    pack(target / "root", target)


def _proxy() -> object:
    from tests.cluster import wrong_proxy

    return wrong_proxy
