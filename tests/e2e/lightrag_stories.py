"""What the stories of lightrag-server share: the shipped corpus, and our reading compared with upstream's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

DATA = Path(__file__).resolve().parents[2] / "lightragctl" / "bench" / "data"
CORPUS = DATA / "documents"
TOP_K = 10
LEAST_AGREEMENT = 0.95


def questions() -> list[str]:
    """The shipped questions, in two languages."""
    lines = (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@dataclass(frozen=True)
class Miss:
    """A question that the two answer otherwise: rank by rank, the ids and our scores."""

    question: str
    ours: Sequence[str]
    theirs: Sequence[str]
    scores: Sequence[float]


def compare(api: httpx.Client, upstream: httpx.Client, asked: Sequence[str]) -> list[Miss]:
    """The questions for which lightrag-api in mode naive gives other ids, or another order, than upstream's naive mode.

    Neighbours of equal score may stand in either order, and the last may be another one of the same score.
    """
    misses = []
    for question in asked:
        body = {"query": question, "mode": "naive", "chunk_top_k": TOP_K}
        found = api.post("/retrieve", json=body).raise_for_status().json()["hits"]
        told = upstream.post("/query/data", json={**body, "enable_rerank": False}).raise_for_status().json()
        theirs = [chunk["chunk_id"] for chunk in told["data"].get("chunks", [])]
        ours, scores = [hit["id"] for hit in found], [hit["score"] for hit in found]
        if not same_but_for_ties(ours, theirs, scores):
            misses.append(Miss(question, ours, theirs, scores))
    return misses


def same_but_for_ties(ours: Sequence[str], theirs: Sequence[str], scores: Sequence[float]) -> bool:
    """Whether the lists are equal, when each group of equal scores is taken as a set; the last group may be cut off."""
    if len(ours) != len(theirs):
        return False
    start = 0
    while start < len(ours):
        end = start + 1
        while end < len(ours) and abs(scores[end] - scores[start]) < 1e-6:
            end += 1
        is_last, group = end == len(ours), set(ours[start:end])
        if group != set(theirs[start:end]) and not (is_last and end - start > 1):
            return False
        start = end
    return True


def report(misses: Sequence[Miss], asked: Sequence[str]) -> str:
    """The agreement, and every miss."""
    lines = [f"{len(asked) - len(misses)} of {len(asked)} questions: the same ids in the same order"]
    for miss in misses:
        lines.append(f"  {miss.question}")
        rows = zip(miss.ours, miss.theirs, miss.scores, strict=False)
        lines += [f"    {ours:50} {theirs:50} {score:.6f}" for ours, theirs, score in rows]
    return "\n".join(lines)


def component(parts: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """One line of `status -o json`."""
    return next(part for part in parts if part["name"] == name)
