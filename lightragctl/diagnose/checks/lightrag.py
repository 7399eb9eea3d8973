"""Checks of lightrag-server: its documents, its pipeline, and settings of it that mislead. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import SLOW, UNAVAILABLE, WRONG, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED, LIGHTRAG, THRESHOLDS, WORKLOADS
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import name_of, spec_of

_NAME = "lightrag-server"
_OPEN = ("pending", "processing", "preprocessed", "parsing", "analyzing")
_AGAIN = Hint("process them again: ", Command("ingest", "PATH"), "; see ", Command("logs", _NAME))


def _answers(facts: Facts) -> Iterator[Trouble]:
    one = facts[LIGHTRAG]
    if one.status != 200:
        message = f"it does not answer /health: {one.error or one.status}"
        yield Trouble(_NAME, message, Hint("see: ", Command("logs", _NAME)), component=_NAME)


def _failed(facts: Facts) -> Iterator[Trouble]:
    if count := facts[LIGHTRAG].counts.get("failed", 0):
        message = f"{count} documents failed: searches do not find them"
        yield Trouble(_NAME, message, _AGAIN, evidence=("status_counts",))


def _recovery(facts: Facts) -> Iterator[Trouble]:
    if facts[LIGHTRAG].recovery:
        message = "its pipeline must be recovered: until then it accepts no documents"
        yield Trouble(_NAME, message, Hint("restart it, and read its log: ", Command("logs", _NAME)))


def _stuck(facts: Facts) -> Iterator[Trouble]:
    one, most_s = facts[LIGHTRAG], facts[THRESHOLDS].stuck_s
    waiting = sum(one.counts.get(name, 0) for name in _OPEN)
    if waiting and not one.busy:
        message = (
            f"{waiting} documents are queued, and its pipeline is idle: it does not resume by itself after a restart"
        )
        yield Trouble(_NAME, message, _AGAIN, evidence=(f"busy=false, {waiting} open",))
    elif waiting and one.oldest_open_s > most_s:
        message = f"a document has been processed for {one.oldest_open_s / 60:.0f} minutes: the chat model may hang"
        hint = Hint("see the model and the pipeline: ", Command("logs", _NAME))
        yield Trouble(_NAME, message, hint, evidence=(f"threshold {most_s:g} s",))


def _writers(facts: Facts) -> Iterator[Trouble]:
    for one in facts[WORKLOADS]:
        replicas = int(spec_of(one).get("replicas", 1))
        if component_of(one) == _NAME and replicas > 1:
            message = f"it has {replicas} pods, and each writes: they overwrite each other's files"
            hint = Hint("only one pod may write; scale it back: ", Command("up"))
            yield Trouble(f"{one['kind']}/{name_of(one)}", message, hint)


def _open(facts: Facts) -> Iterator[Trouble]:
    one = facts[LIGHTRAG]
    if one.without_key == 200 and not facts[DEPLOYED].is_local():
        message = "it accepts requests without a key: any pod can read and delete all documents"
        hint = Hint("set components.lightrag-server.api_key: generated, then: ", Command("up"))
        yield Trouble(_NAME, message, hint, evidence=("GET /documents/status_counts answers 200 without a key",))


def _workspace(facts: Facts) -> Iterator[Trouble]:
    one, wanted = facts[LIGHTRAG], facts[DEPLOYED].workspace
    if one.status == 200 and one.workspace and one.workspace != wanted:
        message = f"it serves workspace {one.workspace}, and lightrag-api {wanted}: they share no document"
        yield Trouble(_NAME, message, Hint("deploy both with one profile: ", Command("up")))


def _model(facts: Facts) -> Iterator[Trouble]:
    one, release = facts[LIGHTRAG], facts[DEPLOYED]
    if one.model and one.model != release.model:
        message = f"it embeds with '{one.model}', and lightrag-api with '{release.model}'"
        yield Trouble(_NAME, message, Hint("deploy both with one profile: ", Command("up")))
    elif one.dimension and one.dimension != release.dimension:
        message = f"its embeddings have dimension {one.dimension}, and those of the profile {release.dimension}"
        yield Trouble(_NAME, message, Hint("deploy both with one profile: ", Command("up")))


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.LIGHTRAG)

CHECKS = (
    _check(
        code="LR700",
        title="lightrag-server answers",
        severity=_ERROR,
        needs=(LIGHTRAG,),
        judge=_answers,
        fix=Hint("see: ", Command("logs", _NAME)),
        symptoms=(UNAVAILABLE,),
        stops=True,
    ),
    _check(
        code="LR701",
        title="no document of lightrag-server has failed",
        severity=_WARNING,
        needs=(LIGHTRAG,),
        judge=_failed,
        fix=_AGAIN,
        symptoms=(WRONG,),
    ),
    _check(
        code="LR702",
        title="lightrag-server's pipeline needs no recovery",
        severity=_ERROR,
        needs=(LIGHTRAG,),
        judge=_recovery,
        fix=Hint("restart it, and read its log: ", Command("logs", "lightrag-server")),
        symptoms=(WRONG, UNAVAILABLE),
        explains=("LR703",),
    ),
    _check(
        code="LR703",
        title="lightrag-server's documents are processed",
        severity=_WARNING,
        needs=(LIGHTRAG, THRESHOLDS),
        judge=_stuck,
        fix=_AGAIN,
        symptoms=(WRONG, SLOW),
    ),
    _check(
        code="LR704",
        title="one pod of lightrag-server writes",
        severity=_ERROR,
        needs=(WORKLOADS,),
        judge=_writers,
        fix=Hint("scale it to one: ", Command("up")),
        symptoms=(WRONG,),
        follows=False,
    ),
    _check(
        code="LR705",
        title="lightrag-server requires a key",
        severity=_WARNING,
        needs=(LIGHTRAG, DEPLOYED),
        judge=_open,
        fix=Hint("set components.lightrag-server.api_key: generated, then: ", Command("up")),
        follows=False,
    ),
    _check(
        code="LR706",
        title="lightrag-server serves the release's workspace",
        severity=_ERROR,
        needs=(LIGHTRAG, DEPLOYED),
        judge=_workspace,
        fix=Hint("deploy both with one profile: ", Command("up")),
        symptoms=(WRONG,),
    ),
    _check(
        code="LR707",
        title="lightrag-server embeds with the profile's model",
        severity=_ERROR,
        needs=(LIGHTRAG, DEPLOYED),
        judge=_model,
        fix=Hint("deploy both with one profile: ", Command("up")),
        symptoms=(WRONG,),
    ),
)
