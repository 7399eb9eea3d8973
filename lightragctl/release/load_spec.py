"""What to load-test: target, questions and evaluation. Imports nothing slow, for --help. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightragctl.core.errors import UsageError

API_KEY = "LIGHTRAGCTL_BENCH_API_KEY"
_TOPICS_TOP_K = 5
_TOP_K = 10

TargetKind = Literal["retrieve", "query", "embeddings", "chat", "lightrag", "milvus"]
Scenario = Literal["test-data", "topics", "collection", "recordings"]


@dataclass(frozen=True)
class LoadSpec:
    """Target, questions and evaluation of a load test; the load shape is separate.

    Attributes:
        kind: of the target.
        url: of a service other than the release's own.
        model: of targets `embeddings` and `chat`.
        top_k: number of passages to request; see `k`.
        api_key_file: file with the key of the service at `url`; default: the variable `API_KEY`.
        timeout: of one request, in seconds.
        scenario: source of the questions; default `test-data`.
        questions: a file of questions, instead of a scenario.
        qrels: relevance judgements for `questions`, in TREC format.
        distinct: number of distinct questions, so that caches do not answer.
        recall: whether to measure recall by exact search; None: only for collections up to `RECALL_ROWS`.
        workers: number of load-generating processes.
        spin: busy-wait for microsecond accuracy.
    """

    kind: TargetKind = "retrieve"
    url: str | None = None
    model: str | None = None
    top_k: int | None = None
    api_key_file: Path | None = None
    timeout: float = 30.0
    scenario: Scenario | None = None
    questions: Path | None = None
    qrels: Path | None = None
    distinct: int | None = None
    recall: bool | None = None
    workers: int = 1
    spin: bool = False

    def check(self) -> None:
        """Reject incompatible options.

        Raises:
            UsageError: some are incompatible.
        """
        if self.questions is not None and self.scenario is not None:
            raise UsageError("--questions and --scenario are mutually exclusive", "use one of them")
        if self.model is not None and self.kind not in ("embeddings", "chat"):
            raise UsageError(f"--model does not apply to --target {self.kind}", "omit it, or use --target chat")
        if self.api_key_file is not None and (self.url is None or self.kind == "milvus"):
            hint = "omit it: the key of a release is known, and Milvus needs none"
            raise UsageError("--api-key-file applies only to a service at --url", hint)

    @property
    def is_topics(self) -> bool:
        """Whether the scenario is `topics`."""
        return self.scenario == "topics" and self.questions is None

    @property
    def k(self) -> int:
        """The number of passages to request."""
        return self.top_k or (_TOPICS_TOP_K if self.is_topics else _TOP_K)


def is_url(text: str) -> bool:
    """Whether a side of a comparison is a URL rather than a profile."""
    return "://" in text
