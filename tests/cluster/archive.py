"""Images without a registry: layers in the cache, written as an OCI archive straight into a node's containerd.

Only what a node does not hold yet is sent, so that a change of our own code costs one small layer.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.cluster.commands import last_lines, run
from tests.cluster.kept import ClusterError

HUB = "docker" + ".io"
"""The registry that names without one belong to; containerd wants it written out."""
IMPORT_S = 300.0
Blobs = dict[str, bytes | Path]


@dataclass(frozen=True)
class Image:
    """An image; `layers` are folders that `write_layer` made. `name` is as a manifest says it."""

    name: str
    layers: tuple[Path, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """The name as containerd knows it."""
        first, _, rest = self.name.partition("/")
        if rest and "." in first:
            return self.name
        return f"{HUB}/{self.name}" if rest else f"{HUB}/library/{self.name}"

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum((layer / "layer.tar").stat().st_size for layer in self.layers)


def write_layer(root: Path, target: Path) -> None:
    """Packs a folder as a layer: the same content gives the same layer."""
    target.mkdir(exist_ok=True)
    same = ("--numeric-owner", "--sort=name", "--mtime=@0", "--format=gnu")
    run("tar", *same, "-C", root, "-cf", target / "layer.tar", ".", timeout_s=300)
    with (target / "layer.tar").open("rb") as file:
        (target / "sha256").write_text(hashlib.file_digest(file, "sha256").hexdigest())


def pack(image: Image) -> tuple[dict[str, Any], Blobs]:
    """The index entry and the blobs of an image."""
    blobs: Blobs = {f"sha256:{(layer / 'sha256').read_text()}": layer / "layer.tar" for layer in image.layers}
    digests = [f"sha256:{(layer / 'sha256').read_text()}" for layer in image.layers]
    config = {"architecture": "amd64", "os": "linux", "config": dict(image.config)}
    config["rootfs"] = {"type": "layers", "diff_ids": digests}
    kind = "application/vnd.oci.image"
    layers = [_entry(f"{kind}.layer.v1.tar", digest, blobs[digest]) for digest in digests]
    about = _put(blobs, f"{kind}.config.v1+json", config)
    manifest_kind = f"{kind}.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": manifest_kind, "config": about, "layers": layers}
    entry = _put(blobs, manifest_kind, manifest)
    entry["platform"] = {"architecture": "amd64", "os": "linux"}
    entry["annotations"] = {"io.containerd.image.name": image.full_name}
    return entry, blobs


def _put(blobs: Blobs, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(content, sort_keys=True).encode()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blobs[digest] = data
    return _entry(kind, digest, data)


def _entry(kind: str, digest: str, blob: bytes | Path) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": blob.stat().st_size if isinstance(blob, Path) else len(blob)}


def import_into(socket: Path, images: Sequence[Image]) -> int:
    """Gives a node's containerd these images; says how many bytes had to be sent."""
    ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
    present = set(run(*ctr, "content", "ls", "-q").split())
    entries, blobs = [], {}
    for image in images:
        entry, own = pack(image)
        entries.append(entry)
        blobs.update(own)
    missing = {digest: blob for digest, blob in blobs.items() if digest not in present}
    command = [*ctr, "images", "import", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        try:
            write_archive(process.stdin, entries, missing)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; its words follow
        process.stdin = None
        printed, _ = process.communicate(timeout=IMPORT_S)
    if process.returncode:
        raise ClusterError(f"ctr images import, {socket}: {last_lines(printed.decode(errors='replace'))}")
    return sum(blob.stat().st_size if isinstance(blob, Path) else len(blob) for blob in missing.values())


def write_archive(target: IO[bytes], entries: Sequence[dict[str, Any]], blobs: Blobs) -> None:
    """An OCI image layout as a tar stream."""
    with tarfile.open(fileobj=target, mode="w|", bufsize=1 << 20, copybufsize=1 << 20) as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        for digest, blob in blobs.items():
            _add(tar, f"blobs/sha256/{digest.removeprefix('sha256:')}", blob)
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode())


def _add(tar: tarfile.TarFile, name: str, blob: bytes | Path) -> None:
    member = tarfile.TarInfo(name)
    if isinstance(blob, bytes):
        member.size = len(blob)
        tar.addfile(member, io.BytesIO(blob))
        return
    member.size = blob.stat().st_size
    with blob.open("rb") as file:
        tar.addfile(member, file)
