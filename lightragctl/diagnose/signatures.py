"""Known errors in logs: a pattern, a name, what it means and what to do. The lines themselves are not kept. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lightragctl.core.hint import Command, Hint


@dataclass(frozen=True)
class Signature:
    """A known error.

    Attributes:
        name: a stable word.
        pattern: what a line of a log holds.
        meaning: what is wrong, in words.
        fix: what to do.
    """

    name: str
    pattern: str
    meaning: str
    fix: Hint


_LOG = Command("logs")

SIGNATURES = (
    Signature(
        "disk-full",
        r"No space left on device|ENOSPC|disk quota exceeded",
        "it could not write: the disk is full",
        Hint("free space, or enlarge the volume"),
    ),
    Signature(
        "settings",
        r"settings.*(cannot be read|does not fit|not valid|Invalid JSON)|(cannot read|invalid).*settings",
        "its settings file is damaged, or of another version",
        Hint("rewrite it: ", Command("up")),
    ),
    Signature(
        "port-in-use",
        r"[Aa]ddress (already )?in use|bind.*EADDRINUSE",
        "its port is in use by another process",
        Hint("choose another port in the profile: components.NAME.port or local.port_offset"),
    ),
    Signature(
        "out-of-memory",
        r"OOM if load|java\.lang\.OutOfMemoryError|MemoryError|CUDA out of memory|cannot allocate memory",
        "it ran out of memory",
        Hint("raise resources.limits.memory of the component, or load less"),
    ),
    Signature(
        "permission",
        r"Permission denied|Operation not permitted|EACCES|read-only file system|Read-only file system",
        "it has no permission to read or write a file",
        Hint("check the owner of the files, and run_as in the profile"),
    ),
    Signature(
        "etcd-full",
        r"mvcc: database space exceeded|alarm:NOSPACE|NOSPACE",
        "etcd is full and rejects writes",
        Hint("compact and defragment etcd, then etcdctl alarm disarm; or raise components.etcd.quota_bytes"),
    ),
    Signature(
        "etcd-lost",
        r"etcdserver: (request timed out|no leader|leader changed)|disconnected from etcd|connection lost detected",
        "it lost its connection to etcd, or etcd has no leader",
        Hint("see etcd's members: ", Command("logs", "etcd")),
    ),
    Signature(
        "two-coordinators",
        r"CompareAndSwap error for compare is false",
        "two coordinators of Milvus run at the same time",
        Hint("run one, or topology standalone-ha or distributed, which have an active and a standby"),
    ),
    Signature(
        "object-store-refused",
        r"Access ?Denied|SignatureDoesNotMatch|InvalidAccessKeyId|NoSuchBucket|AllAccessDisabled"
        r"|signature we calculated does not match|[Aa]ccess [Kk]ey I[dD] you provided does not exist"
        r"|specified bucket does not exist|bucket .* not [Ee]xist",
        "the object store refuses its keys, or the bucket does not exist",
        Hint("check components.vector-engine.object_store and the Secret with the keys"),
    ),
    Signature(
        "object-lost",
        r"NoSuchKey|The specified key does not exist",
        "an object that Milvus wrote is missing from the bucket",
        Hint("check that no other release or life-cycle rule deletes below root_path; then restore a backup"),
    ),
    Signature(
        "not-tls",
        r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER_FAILURE|record layer failure"
        r"|first record does not look like a TLS handshake|server gave HTTP response to HTTPS client",
        "a service that it connects to by https does not use TLS",
        Hint("use http:// in the address in the profile"),
    ),
    Signature(
        "certificate",
        r"certificate (has expired|verify failed|signed by unknown)|x509:|CERTIFICATE_VERIFY_FAILED",
        "a TLS certificate is not accepted",
        Hint("renew the certificate, or add its authority to the trusted ones"),
    ),
    Signature(
        "dns",
        r"no such host|Name or service not known|Temporary failure in name resolution|server misbehaving"
        r"|NXDOMAIN|getaddrinfo",
        "a name cannot be resolved",
        Hint("check the address in the profile, and the cluster's DNS: kubectl -n kube-system get pods"),
    ),
    Signature(
        "refused",
        r"[Cc]onnection refused|ECONNREFUSED|Connect call failed",
        "a service that it connects to refuses connections",
        Hint("see which component is down: ", Command("status")),
    ),
    Signature(
        "network",
        r"i/o timeout|no connection to \S+ within|[Nn]etwork is unreachable|No route to host|context deadline exceeded",
        "a service that it connects to is unreachable",
        Hint("check network policies, routes and proxies: kubectl get networkpolicies"),
    ),
    Signature(
        "queue-lost",
        r"consume msg failed|Failed to (create|connect).*(producer|consumer)|kafka.*(Timed out|not available)"
        r"|NOT_LEADER|broker.*not available",
        "the message queue does not answer",
        Hint("see its log: ", Command("logs", "kafka")),
    ),
    Signature(
        "time-tick",
        r"Timestamp lag too large|tsafe.*lag|time tick long delay",
        "Milvus's time ticks lag: the message queue or the data nodes are too slow",
        Hint("see the queue and the data nodes: ", Command("logs", "vector-engine")),
    ),
    Signature(
        "cpu",
        r"[Ii]llegal instruction|SIGILL|AVX",
        "the processor lacks instructions that it needs (AVX2)",
        Hint("run it on another node type"),
    ),
    Signature(
        "gpu",
        r"no CUDA-capable device|CUDA driver version is insufficient|Failed to initialize NVML|nvidia-smi",
        "it finds no usable GPU",
        Hint("check the device plugin and the driver: kubectl describe node"),
    ),
    Signature(
        "aio",
        r"io_setup\(\) failed",
        "the kernel has no asynchronous I/O slots left",
        Hint("raise fs.aio-max-nr on the node"),
    ),
    Signature(
        "open-files",
        r"Too many open files|EMFILE",
        "it has reached its limit of open files",
        Hint("raise the limit: ulimit -n"),
    ),
    Signature(
        "missing-package",
        r"ModuleNotFoundError|No module named|ImportError",
        "a Python package is missing or of another version",
        Hint("install it: pip install 'lightragctl[local,service]'"),
    ),
    Signature(
        "data-locked",
        r"database is locked|LOCK: .*[Rr]esource temporarily unavailable|is already opened by|another process",
        "another process uses its data",
        Hint("stop the other process, then: ", Command("up")),
    ),
    Signature(
        "data-damaged",
        r"[Cc]hecksum mismatch|corrupt(ed|ion)?\b|database disk image is malformed|bad magic|unexpected EOF"
        r"|JSONDecodeError|Expecting (value|property name|',' delimiter)|Parquet magic bytes|ArrowInvalid",
        "its data is damaged",
        Hint("restore them from a backup, or start over: ", Command("down", "--purge"), ", then up and ingest"),
    ),
    Signature(
        "key-refused",
        r"invalid_api_key|Incorrect API key|401 Unauthorized|refuses the key",
        "a model endpoint refuses the API key",
        Hint("check the key and the profile's models.*.api_key"),
    ),
    Signature(
        "rate-limit",
        r"429 Too Many Requests|rate_limit_exceeded|insufficient_quota",
        "a model endpoint limits the rate of requests",
        Hint("lower the load, or raise the quota at the provider"),
    ),
)

_COMPILED = tuple((one.name, re.compile(one.pattern)) for one in SIGNATURES)
BY_NAME = {one.name: one for one in SIGNATURES}
LASTING = ("disk-full", "etcd-full", "object-store-refused", "object-lost", "data-damaged", "certificate")
"""Errors that do not pass by themselves, so that they count while the component is ready."""
RECENT_S = 120
"""How far back logs of ready pods are read."""


_STAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")


def since(lines: Iterable[str], begin: str) -> list[str]:
    """The lines of a log from a time on; a line without a time is as old as the one before it.

    Args:
        lines: of the log.
        begin: as `YYYY-MM-DD HH:MM:SS` in the zone of the log.
    """
    kept, is_recent = [], True
    for line in lines:
        if stamp := _STAMP.match(line):
            is_recent = stamp[0].replace("T", " ") >= begin
        if is_recent:
            kept.append(line)
    return kept


def count_signs(lines: Iterable[str]) -> dict[str, int]:
    """How many lines hold each known error; the first that fits counts."""
    found: dict[str, int] = {}
    for line in lines:
        name = next((name for name, pattern in _COMPILED if pattern.search(line)), None)
        if name:
            found[name] = found.get(name, 0) + 1
    return found
