"""The command line of the test cluster: `python -m tests.cluster up`."""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from tests.cluster import cluster, images
from tests.cluster.backing import backing_images
from tests.cluster.binaries import programs
from tests.cluster.kept import VARIABLE, ClusterError, say, timed

EXAMPLES = f"""examples:
  python -m tests.cluster up                        three nodes in three zones, with images; again: says that it runs
  python -m tests.cluster up --nodes 1 --no-images  quicker
  python -m tests.cluster images                    after a change of our code: builds and imports our image again
  python -m tests.cluster images --milvus 2.3.0     a further version of Milvus
  python -m tests.cluster shell -- kubectl get pods -A
  python -m tests.cluster status -o json
  python -m tests.cluster down

Needs Linux, root, Go, and Debian's apt for what is missing. Programs and layers are kept in the folder that
{VARIABLE} names (/var/cache/lightragctl-test); a cluster's own files are in clusters/NAME there.
"""


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="A real Kubernetes cluster on this machine, in network namespaces, without Docker.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--name", default="default", help="which cluster; up to three at a time (default: %(default)s)")
    commands = made.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it, or say that it runs")
    up.add_argument("--nodes", type=int, default=3, help="1 to 9, each in a zone of its own (default: %(default)s)")
    up.add_argument("--no-images", action="store_true", help="only the cluster")
    commands.add_parser("down", help="stop it and remove all but the cache")
    status = commands.add_parser("status", help="what runs; 1 where it does not")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    load = commands.add_parser("images", help="build images and import them into every node")
    load.add_argument("--milvus", action="append", metavar="VERSION", help=f"versions of Milvus ({images.MILVUS})")
    load.add_argument("--tag", action="append", default=[], metavar="NAME:TAG", help="a further name for our image")
    load.add_argument("--backing", action="store_true", help="also what a Milvus cluster stands on: etcd, Kafka, S3")
    shell = commands.add_parser("shell", help="run a command with KUBECONFIG and kubectl")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    return made


def main() -> int:
    """Runs a command; an error is told in one piece, without a traceback."""
    asked = parser().parse_args()
    actions = {"up": up, "down": down, "status": status, "images": load, "shell": shell}
    try:
        return actions[asked.command](asked)
    except ClusterError as problem:
        say(f"error: {problem}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def up(asked: argparse.Namespace) -> int:
    with timed(f"{asked.name} is up"):
        started = cluster.up(asked.name, asked.nodes)
    if not asked.no_images:
        show_images(started, [images.MILVUS], [])
    print(f"export KUBECONFIG={started.kubeconfig}")
    return 0


def down(asked: argparse.Namespace) -> int:
    with timed("down"):
        there = cluster.down(asked.name)
    say(f"{asked.name} is stopped" if there else f"there is no cluster {asked.name}")
    return 0


def status(asked: argparse.Namespace) -> int:
    found = cluster.status(asked.name)
    if asked.output == "json":
        print(json.dumps(found, indent=2))
    elif not found["running"]:
        print(f"{asked.name} does not run: {found['reason']}")
    else:
        print(f"{asked.name} runs, {len(found['nodes'])} nodes\nexport KUBECONFIG={found['kubeconfig']}")
        print("\n".join(f"{name} {address}" for name, address in found["nodes"].items()))
    return 0 if found["running"] else 1


def load(asked: argparse.Namespace) -> int:
    there = running(asked.name)
    show_images(there, asked.milvus or [images.MILVUS], asked.tag)
    if asked.backing:
        show([images.spread(image, there.sockets) for image in backing_images()])
    return 0


def show_images(on: cluster.Cluster, milvus: list[str], tags: list[str]) -> None:
    show(images.load(on.sockets, milvus, tags))


def show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        say("  {image}: {size_mb} MB, {sent_mb} MB sent to the nodes in {seconds} s".format(**row))


def shell(asked: argparse.Namespace) -> int:
    words = asked.words[1:] if asked.words[:1] == ["--"] else asked.words
    environ = running(asked.name).env(programs())
    return subprocess.run(words or [os.environ.get("SHELL", "/bin/sh")], env=environ).returncode


def running(name: str) -> cluster.Cluster:
    """The cluster of this name; an error when it does not run."""
    found = cluster.find(name)
    if found is None or (reason := cluster.why_down(found)):
        raise ClusterError(f"{name} does not run: {reason if found else 'start it with python -m tests.cluster up'}")
    return found


if __name__ == "__main__":
    sys.exit(main())
