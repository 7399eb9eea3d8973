"""What is put under load, with which questions, and how answers are judged. Imports nothing slow, for --help. Pure."""

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
    """What is asked, of whom, and how answers are judged; when requests go is not said here.

    Attributes:
        kind: of the target.
        url: another service than the release's own.
        model: of targets `embeddings` and `chat`.
        top_k: how many passages; see `k`.
        api_key_file: the key of the service at `url`; else the variable `API_KEY` has it.
        timeout: how long an answer may take, in seconds.
        scenario: whose questions; `test-data` by default.
        questions: a file of questions, in the place of a scenario.
        qrels: judgements of `questions`, as TREC writes them.
        distinct: ask this number of different texts, which no cache knows.
        recall: whether to compare with exact search; None: only collections up to `RECALL_ROWS`.
        workers: processes that send.
        spin: burn processor time to send to the microsecond.
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
        """Look for options that the others make meaningless.

        Raises:
            UsageError: there is one.
        """
        if self.questions is not None and self.scenario is not None:
            raise UsageError("--questions are asked in the place of those of a --scenario", "give one of them")
        if self.model is not None and self.kind not in ("embeddings", "chat"):
            raise UsageError(f"--target {self.kind} takes no --model", "leave it out, or say --target chat")
        if self.api_key_file is not None and (self.url is None or self.kind == "milvus"):
            hint = "leave it out: a release's own key is known, and Milvus has none"
            raise UsageError("--api-key-file is for another service, with --url", hint)

    @property
    def is_topics(self) -> bool:
        """Whether the questions are the shipped ones about three topics."""
        return self.scenario == "topics" and self.questions is None

    @property
    def k(self) -> int:
        """How many passages are asked for."""
        return self.top_k or (_TOPICS_TOP_K if self.is_topics else _TOP_K)


def is_url(text: str) -> bool:
    """Whether one side of a comparison is an address rather than a profile."""
    return "://" in text
