"""What facts hold: the release, its services, store, models and processes. Every field may go into a bundle. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Labels = dict[str, str]
Samples = list[tuple[Labels, float]]
"""Values of one series by its labels."""
Series = dict[str, Samples]


@dataclass(frozen=True)
class PartOf:
    """A component as deployed: which others it needs, its port, what it may use."""

    requires: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    port: int = 0
    store: bool = False


@dataclass(frozen=True)
class Deployed:
    """The release as it was brought up, from its record. `at` in unix seconds; `*_bytes` 0 where nothing is set."""

    release: str
    profile: str
    runtime: str
    at: float
    namespace: str = ""
    production: bool = False
    workspace: str = "default"
    model: str = ""
    dimension: int = 0
    suffix: str = ""
    query_prefix: str = ""
    document_prefix: str = ""
    embedding_at: str = ""
    chat_model: str = ""
    chat_at: str = ""
    index_type: str = ""
    metric: str = ""
    backs_up: bool = False
    request_s: float = 2.0
    search_s: float = 5.0
    embed_s: float = 60.0
    queue: int = 0
    cache_bytes: int = 0
    api_memory_bytes: int = 0
    query_memory_bytes: int = 0
    jvm_heap_bytes: int = 0
    jvm_memory_bytes: int = 0
    etcd_quota_bytes: int = 0
    components: dict[str, PartOf] = field(default_factory=dict)

    def is_local(self) -> bool:
        """Whether it runs as processes of this machine."""
        return self.runtime == "local"

    def behind(self, component: str) -> set[str]:
        """All components that the component needs to find passages, directly or not; the chat model is not one."""
        found: set[str] = set()
        waiting = [component]
        while waiting:
            part = self.components.get(waiting.pop(), PartOf())
            new = ({*part.requires, *part.calls} & self.components.keys()) - found - {"mock-llm"}
            found |= new
            waiting += new
        return found - {component}


@dataclass(frozen=True)
class Replica:
    """How one replica of one of our services answers. A status is 0 where nothing answered; times in seconds."""

    component: str
    name: str
    live: int = 0
    ready: int = 0
    reason: str = ""
    error: str = ""
    took_s: float = 0.0


FOREIGN = "not-openai"
"""Code of an answer that is not of the OpenAI API, such as a page of HTML."""


@dataclass(frozen=True)
class Endpoint:
    """One small call to a model through model-gateway. `status` is 0 where nothing answered; `code`: of the problem.

    `cause`: the name of a known error in its message, or `proxy`; the message itself is not kept.
    """

    kind: str
    model: str
    at: str
    status: int = 0
    code: str = ""
    error: str = ""
    took_s: float = 0.0
    dimension: int = 0
    norm: float = 0.0
    cause: str = ""


@dataclass(frozen=True)
class Searched:
    """One search through lightrag-api. `status` is 0 where nothing answered."""

    status: int = 0
    code: str = ""
    error: str = ""
    took_s: float = 0.0
    hits: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    without_key: int = 0
    key_given: bool = False


@dataclass(frozen=True)
class StoreState:
    """Whether the vector store answers, and how long an empty request takes."""

    reached: bool
    error: str = ""
    took_s: float = 0.0
    version: str = ""


@dataclass(frozen=True)
class Collection:
    """A collection as the store describes it. Numbers are None where the store does not tell."""

    name: str
    aliases: list[str] = field(default_factory=list)
    dimension: int | None = None
    index_type: str = ""
    metric: str = ""
    indexed: bool = True
    state: str = "Loaded"
    rows: int | None = None
    pending_rows: int | None = None
    ttl_s: int | None = None
    error: str = ""


@dataclass(frozen=True)
class RowSample:
    """What a sample of stored rows shows; no row itself.

    `reproduced` is the cosine between a stored vector and the vector of the same text now; None when not measured.
    `found` says whether a search with a stored vector finds that row.
    """

    collection: str
    rows: int
    zero: int = 0
    not_finite: int = 0
    unit: int = 0
    same_id: int = 0
    reproduced: float | None = None
    found: bool | None = None


@dataclass(frozen=True)
class DocumentCounts:
    """The documents of the workspace, in numbers. `chunks` of documents that are ready; ages in seconds.

    `rows` of the store, counted between two equal readings of the documents; None when they changed.
    """

    total: int
    writing: int = 0
    oldest_writing_s: float = 0.0
    outdated: int = 0
    chunks: int = 0
    rows: int | None = None


@dataclass(frozen=True)
class StoredModel:
    """The model that the workspace's vectors came from."""

    name: str
    dimension: int
    query_prefix: str
    document_prefix: str


@dataclass(frozen=True)
class GoldenState:
    """The golden set: its newest version, 0 where there is none."""

    version: int = 0


@dataclass(frozen=True)
class LightragState:
    """lightrag-server, in numbers and words of its own. `status` is 0 where nothing answered."""

    status: int = 0
    error: str = ""
    version: str = ""
    workspace: str = ""
    auth: str = ""
    model: str = ""
    dimension: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    oldest_open_s: float = 0.0
    busy: bool = False
    recovery: bool = False
    without_key: int = 0


@dataclass(frozen=True)
class Holder:
    """Who listens on a port: the process and its program's name; pid 0 is a process of another user."""

    pid: int
    program: str
    ours: bool


@dataclass(frozen=True)
class Process:
    """A process of a local release. Times in seconds; `started_at` in unix seconds."""

    name: str
    port: int
    alive: bool
    pid: int = 0
    restarts: int = 0
    failures: int = 0
    last_exit: str = ""
    next_start_in_s: float = 0.0
    started_at: float = 0.0
    start_timeout_s: float = 60.0
    current: bool = True
    not_ready: str = ""
    holder: Holder | None = None
    extra_holders: dict[int, Holder] = field(default_factory=dict)
    rss_bytes: int = 0
    stopped_state: str = ""
    program_there: bool = True
    log_bytes: int = 0
    data_there: bool = True
    open_files: int = 0
    open_files_limit: int = 0


@dataclass(frozen=True)
class Machine:
    """The machine and the folder of a local release."""

    running: bool
    supervisor_alive: bool = False
    same_boot: bool = True
    disk_bytes: int = 0
    disk_free_bytes: int = 0
    inodes: int = 0
    inodes_free: int = 0
    memory_bytes: int = 0
    memory_free_bytes: int = 0
    cpus: int = 1
    load: float = 0.0
    folder_mode: int = 0o700
    writable: bool = True
    missing_secrets: list[str] = field(default_factory=list)
    drafts: int = 0
    lock_holder: int = 0
    lock_holder_alive: bool = False


@dataclass(frozen=True)
class Written:
    """A finding that another part of the tool has made, as data; `hint` in parts, a command as (name, arguments)."""

    code: str
    severity: str
    subject: str
    message: str
    hint: list[str | tuple[str, str]]
    component: str = ""


@dataclass(frozen=True)
class Change:
    """A field that another manager changed; values are left out. An empty path: the object is gone.

    `added`: the release does not set the field, so that `up` leaves it.
    """

    subject: str
    path: str
    manager: str
    time: str
    added: bool = False


@dataclass(frozen=True)
class Recorded:
    """The record of a release on a cluster. `held_by` is the holder of its lock and `verdict` what became of that."""

    phase: str
    revision: int
    components: list[str]
    stopped: bool = False
    held_by: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class BackupState:
    """The newest backup of the workspace, as its operation recorded it; `age_s` is None when none was recorded."""

    age_s: float | None = None


@dataclass(frozen=True)
class OpenOperation:
    """An operation that is not closed; `overdue_s` is how long ago its deadline was. `hint` as in `Written`.

    `driver` is who works on it; empty: no process.
    """

    id: str
    kind: str
    phase: str
    step: str
    overdue_s: float
    hint: list[str | tuple[str, str]]
    driver: str = ""


@dataclass(frozen=True)
class StorePlace:
    """Where a release's Milvus keeps its data: a folder of a bucket."""

    release: str
    namespace: str
    endpoint: str
    bucket: str
    root: str


@dataclass(frozen=True)
class Certificate:
    """A certificate in a Secret; `until` in unix seconds."""

    secret: str
    until: float
    used_by: str


@dataclass(frozen=True)
class Reached:
    """One connection that a pod needs, tried from inside it.

    Attributes:
        target: HOST:PORT.
        component: whose Service it is; empty: a server outside the release.
        error: `name`: it cannot be resolved; `refused`; `timeout`; another word of the system; empty: connected.
        took_s: a round trip; 0 where it was not measured.
    """

    target: str
    component: str = ""
    error: str = ""
    took_s: float = 0.0


@dataclass(frozen=True)
class Inside:
    """What a pod sees. `skew_s`: its node's clock minus this machine's, as far as the time of the call tells."""

    component: str
    pod: str
    node: str
    skew_s: float = 0.0
    reached: list[Reached] = field(default_factory=list)


@dataclass(frozen=True)
class Volume:
    """A mounted claim, as its pod's file system tells."""

    component: str
    pod: str
    path: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class NamespaceState:
    """The release's namespace; `blocked_by`: why its deletion does not end."""

    name: str
    terminating: bool = False
    blocked_by: list[str] = field(default_factory=list)


Signs = dict[str, dict[str, int]]
"""By component or pod: how often each known error stands in its log; the lines themselves are not kept."""

Usage = Mapping[str, Mapping[str, float]]
