"""A release on a cluster that tests break, what they break it with, and what `diagnose` must find first."""

import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from lightragctl.service.hashed_embeddings import hashed_vectors
from lightragctl.vectors.milvus import MilvusStore
from tests.cluster.machines import processes_of
from tests.conftest import Tool
from tests.e2e.cluster_stories import ClusterRelease

SUFFIX = "multilingual_e5_small_384d"
FIELDS = ["vector", "content", "file_path", "full_doc_id", "created_at"]
TEXT = "The zebrafish heart of document number {} regenerates within sixty days."
UP_S = "150"


@dataclass
class Ill:
    """A release on a cluster that tests break."""

    release: ClusterRelease
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def name(self) -> str:
        return self.release.name

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.release.cluster.kubectl("-n", self.name, *words, stdin=stdin)

    def listed(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def up(self, *more: str) -> None:
        """Bring it up as its profile says; what others changed is taken back."""
        done = self.release.up("--force-conflicts", "--timeout", UP_S, *more)
        assert done.returncode == 0, done.stderr

    def up_without_waiting(self, *settings: str) -> None:
        """Set profile values that do not work, and do not wait."""
        words = [word for one in settings for word in ("--set", one)]
        self.undo.callback(self.up)
        done = self.release.up("--no-wait", "--force-conflicts", *words)
        assert done.returncode == 0, done.stderr

    def apply(self, *things: dict[str, Any]) -> None:
        """Apply objects, and delete them in the end."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})
        self.kubectl("apply", "-f", "-", stdin=text)
        self.undo.callback(self.kubectl, "delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text)

    def patch(self, target: str, document: Any, how: str = "strategic") -> None:
        """Change an object of the release by hand; `up` leaves fields that others added."""
        self.undo.callback(self.up)
        if not target.startswith("service/"):
            self.undo.callback(self.kubectl, "rollout", "undo", target)
        self.kubectl("patch", target, "--type", how, "-p", json.dumps(document))

    def patch_container(self, component: str, **fields: Any) -> None:
        """Change the container of a component by hand."""
        target, name = self.workload(component), "milvus" if component == "vector-engine" else component
        self.patch(target, {"spec": {"template": {"spec": {"containers": [{"name": name, **fields}]}}}})

    def workload(self, component: str) -> str:
        kind = "statefulset" if component == "vector-engine" else "deployment"
        return f"{kind}/{self.name}-{component}"

    def pod(self, component: str) -> dict[str, Any]:
        label = f"app.kubernetes.io/component={component}"
        found = json.loads(self.kubectl("get", "pods", "-l", label, "-o", "json"))["items"]
        return dict(found[0])

    def delete_pod(self, component: str) -> None:
        self.kubectl("delete", "pod", self.pod(component)["metadata"]["name"], "--grace-period=1", "--wait=false")

    def recreate(self, component: str) -> None:
        """As a rollout or an eviction does: a new pod is needed."""
        self.undo.callback(self.kubectl, "rollout", "restart", self.workload(component))
        self.delete_pod(component)

    def store(self) -> MilvusStore:
        store = MilvusStore(f"http://{self.pod('vector-engine')['status']['podIP']}:19530")
        self.undo.callback(store.close)
        return store

    def chunks(self, store: MilvusStore) -> str:
        return next(name for name in store.list_collections() if "_chunks_" in name)

    def pids(self, component: str, word: str) -> list[int]:
        """Processes of the component's pod on this machine, whose command has the word."""
        uid = self.pod(component)["metadata"]["uid"]
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and word in (entry / "cmdline").read_text():
                    text = (entry / "cgroup").read_text()
                    found += [int(entry.name)] if uid in text or uid.replace("-", "_") in text else []
            except OSError:
                continue
        return found

    def parts(self, *words: str) -> list[int]:
        """Processes of the cluster's own programs, whose command has all words."""
        folder = self.release.cluster.kubeconfig.parents[1]
        return [pid for pid, command in processes_of(folder).items() if all(word in command for word in words)]

    def freeze(self, pids: list[int]) -> None:
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            self.undo.callback(os.kill, pid, signal.SIGCONT)

    def diagnose(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = self.release.run("diagnose", *arguments, "-o", "json")
        assert done.returncode in (0, 3, 4), done.stderr
        return done.returncode, json.loads(done.stdout)

    def host_address(self) -> str:
        """The address of this machine in the cluster's network."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect((self.release.cluster.host_address, 9))
            return str(one.getsockname()[0])

    def fill(self) -> None:
        """Load eight short documents."""
        documents = self.release.tool.cwd / "documents"
        documents.mkdir(exist_ok=True)
        for number in range(8):
            (documents / f"{number}.md").write_text(TEXT.format(number))
        done = self.release.run("ingest", str(documents))
        assert done.returncode == 0, done.stderr

    def refill(self) -> None:
        """Drop all collections of passages, and load everything again."""
        store = MilvusStore(f"http://{self.pod('vector-engine')['status']['podIP']}:19530")
        try:
            for name in [one for one in store.list_collections() if one.startswith("default_")]:
                store.drop(name)
        finally:
            store.close()
        self.kubectl("rollout", "restart", self.workload("lightrag-api"))
        self.up()
        self.fill()


def quick(release: ClusterRelease) -> ClusterRelease:
    """The release, driven without KUBECONFIG in the environment: its commands need no interpreter of their own then."""
    tool = Tool(release.tool.home, release.tool.cwd)
    return replace(release, tool=tool, options=(*release.options, "--kubeconfig", str(release.cluster.kubeconfig)))


class Elsewhere:
    """A model server outside the release, on this machine, whose mood changes; good answers are those of the embedder.

    Attributes:
        mood: `good`, `hang`, `short` (another dimension), `zero`, `slow`, or an HTTP status.
    """

    def __init__(self, address: str) -> None:
        self.mood = "good"
        outer = self

        class Model(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                status, document = outer.answer(self.path, asked)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer((address, 0), Model)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.mood == "hang":
            time.sleep(60)
        if self.mood == "slow":
            time.sleep(7)
        if self.mood.isdigit():
            codes = {"401": "invalid_api_key", "404": "model_not_found", "429": "rate_limit_exceeded"}
            return int(self.mood), {"error": {"code": codes.get(self.mood, "server_error"), "message": "no"}}
        if "chat" in path:
            message = {"role": "assistant", "content": "yes"}
            return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "m"}
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        vectors = hashed_vectors(texts, 64 if self.mood == "short" else 384)
        if self.mood == "zero":
            vectors = vectors * 0
        rows = [{"index": at, "embedding": [float(x) for x in one]} for at, one in enumerate(vectors)]
        return 200, {"object": "list", "model": asked.get("model"), "data": rows, "usage": {"prompt_tokens": 1}}


FOUND_S, WELL_S = 75.0, 180.0


def shown(found: dict[str, Any]) -> list[str]:
    return [
        f"{one['code']} {one['subject']}: {one['message']} (explains {[two['code'] for two in one['consequences']]})"
        for one in found["findings"]
    ]


def until_well(ill: Ill) -> list[str]:
    """What is found when nothing is broken any more; nothing, once pods are replaced."""
    end, left = time.monotonic() + WELL_S, ["not asked"]
    while left and time.monotonic() < end:
        left = shown(ill.diagnose()[1])
    return left


def until_found(ill: Ill, codes: str) -> tuple[float, dict[str, Any]]:
    """Seconds until one of the codes is the first finding, and what was found then; or at the end of the time."""
    begin = time.monotonic()
    while True:
        _, found = ill.diagnose()
        took_s = time.monotonic() - begin
        print(f"    {took_s:5.1f} s, in {found['took_s']} s: " + " | ".join(shown(found)), flush=True)
        if is_first(found, codes) or took_s > FOUND_S:
            return took_s, found


def is_first(found: dict[str, Any], codes: str) -> bool:
    """Whether the first finding is one of the codes; `LR180/etcd`: with that word in its message."""
    if not found["findings"]:
        return False
    first = found["findings"][0]
    wanted = (one.partition("/") for one in codes.split())
    return any(first["code"] == code and word in first["message"] for code, _, word in wanted)


def check(ill: Ill, name: str, codes: str) -> None:
    """The cause comes first; the row is for the table in docs/drills.md."""
    took_s, found = until_found(ill, codes)
    first = found["findings"][0] if found["findings"] else {"code": "nothing", "subject": "", "message": ""}
    print(f"| {name} | {first['code']} `{first['subject']}: {first['message']}` | {took_s:.0f} |", flush=True)
    assert is_first(found, codes), shown(found)
