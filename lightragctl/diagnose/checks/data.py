"""Checks of the stored data: counts that must agree, models that must fit, leftovers. Pure."""

import re
from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import UNAVAILABLE, WRONG, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    COLLECTIONS,
    DEPLOYED,
    DOCUMENTS,
    ROW_SAMPLE,
    STORE_PLACES,
    STORED_MODEL,
    THRESHOLDS,
)
from lightragctl.diagnose.lookup import chunks, chunks_name

_LEFT = re.compile(r"_(temp|tmp|old|bak|backup|migrating)(_\d+)?$")


def _fewer(facts: Facts) -> Iterator[Trouble]:
    one, known = chunks(facts), facts[DOCUMENTS]
    if known.writing or not known.chunks or one is None or known.rows is None or one.state != "Loaded":
        return
    if (rows := known.rows) < known.chunks:
        missing = known.chunks - rows
        message = f"{missing} passages are lost: the documents have {known.chunks}, the store has {rows}"
        hint = Hint("load the documents again: ", Command("ingest", "PATH"), "; or restore a backup")
        evidence = (f"{known.total} documents with {known.chunks} passages", f"row count {rows}")
        yield Trouble(chunks_name(facts[DEPLOYED]), message, hint, evidence=evidence, component="vector-engine")


def _gone(facts: Facts) -> Iterator[Trouble]:
    known = facts[DOCUMENTS]
    if known.chunks and chunks(facts) is None:
        name = chunks_name(facts[DEPLOYED])
        message = (
            f"the collection does not exist, but {known.total} documents with {known.chunks} passages are recorded"
        )
        hint = Hint("load the documents again: ", Command("ingest", "PATH"), "; or restore a backup")
        yield Trouble(name, message, hint, evidence=("neither a collection nor an alias of the name",))


def _more(facts: Facts) -> Iterator[Trouble]:
    one, known = chunks(facts), facts[DOCUMENTS]
    if one is None or known.rows is None or known.writing or "lightrag-server" in facts[DEPLOYED].components:
        return
    if known.rows > known.chunks:
        message = (
            f"{known.rows - known.chunks} rows belong to no document: searches return them, and they cannot be deleted"
        )
        hint = Hint("load their documents again, then delete them; or start over in another workspace")
        evidence = (f"{known.chunks} passages of documents", f"row count {known.rows}")
        yield Trouble(one.name, message, hint, evidence=evidence)


def _twice(facts: Facts) -> Iterator[Trouble]:
    sample = facts[ROW_SAMPLE]
    if sample.same_id:
        message = f"{sample.same_id} of {sample.rows} rows have an id that another row has"
        yield Trouble(sample.collection, message, Hint("load the documents again: ", Command("ingest", "PATH")))


def _other_models(facts: Facts) -> Iterator[Trouble]:
    release = facts[DEPLOYED]
    pattern = re.compile(rf"{re.escape(release.workspace)}_(chunks|entities|relationships)_(\w+_\d+d)(_g\d+)?")
    for one in facts[COLLECTIONS]:
        found = pattern.fullmatch(one.name)
        if found and found[2] != release.suffix and not _LEFT.search(one.name):
            rows = f", {one.rows} rows" if one.rows is not None else ""
            message = f"it belongs to another model ({found[2]}{rows}): searches do not use it"
            hint = Hint("drop it when the current model's documents are complete; or set models.embedding back")
            yield Trouble(one.name, message, hint, evidence=(f"current model: {release.suffix}",))


def _only_others(facts: Facts) -> Iterator[Trouble]:
    release, present = facts[DEPLOYED], chunks(facts)
    pattern = re.compile(rf"{re.escape(release.workspace)}_chunks_(\w+_\d+d)(_g\d+)?")
    others = [one for one in facts[COLLECTIONS] if one.rows and pattern.fullmatch(one.name)]
    others = [one for one in others if present is None or one.name != present.name]
    strangers = [one for one in others if release.suffix not in one.name]
    if strangers and not (present is not None and present.rows):
        found = ", ".join(f"{one.name} ({one.rows} rows)" for one in strangers)
        message = f"the workspace has no passage of the current model {release.suffix}; there are: {found}"
        hint = Hint("set models.embedding back, or load the documents again: ", Command("ingest", "PATH"))
        yield Trouble("models.embedding", message, hint, component="lightrag-api")


def _leftovers(facts: Facts) -> Iterator[Trouble]:
    for one in facts[COLLECTIONS]:
        if _LEFT.search(one.name):
            message = "it is left over from an unfinished migration or a copy"
            yield Trouble(one.name, message, Hint("compare its rows with the current collection, then drop it"))


def _unsuffixed(facts: Facts) -> Iterator[Trouble]:
    names = {f"{facts[DEPLOYED].workspace}_{kind}" for kind in ("chunks", "entities", "relationships")}
    for one in facts[COLLECTIONS]:
        if one.name in names:
            message = "its name has no model, as in old LightRAG versions: upstream copies it, and it becomes stale"
            yield Trouble(one.name, message, Hint("drop it when the collection with the model's name is complete"))


def _shared(facts: Facts) -> Iterator[Trouble]:
    release = facts[DEPLOYED]
    places = facts[STORE_PLACES]
    own = next((one for one in places if (one.release, one.namespace) == (release.release, release.namespace)), None)
    for one in places if own is not None else ():
        if own and one != own and (one.endpoint, one.bucket, one.root) == (own.endpoint, own.bucket, own.root):
            message = f"release {one.release} of namespace {one.namespace} keeps its data in the same folder {one.root}"
            hint = Hint("give each its own components.vector-engine.object_store.root_path before either writes")
            evidence = (f"bucket {one.bucket} at {one.endpoint}",)
            yield Trouble("vector-engine", message, hint, evidence=evidence, component="vector-engine")


def _stuck(facts: Facts) -> Iterator[Trouble]:
    known, most_s = facts[DOCUMENTS], facts[THRESHOLDS].stuck_s
    if known.writing and known.oldest_writing_s > most_s:
        message = f"{known.writing} documents are unfinished; the oldest for {known.oldest_writing_s / 60:.0f} minutes"
        yield Trouble("documents", message, Hint("load them again: ", Command("ingest", "PATH")))


def _outdated(facts: Facts) -> Iterator[Trouble]:
    known = facts[DOCUMENTS]
    if known.outdated:
        message = f"{known.outdated} of {known.total} documents were chunked with different settings"
        hint = Hint("load them again: ", Command("ingest", "PATH"))
        yield Trouble("documents", message, hint)


def _no_alias(facts: Facts) -> Iterator[Trouble]:
    name = chunks_name(facts[DEPLOYED])
    ours = [one for one in facts[COLLECTIONS] if re.fullmatch(rf"{re.escape(name)}_g\d+", one.name)]
    if ours and chunks(facts) is None:
        newest = max(ours, key=lambda one: int(one.name.rpartition("_g")[2]))
        message = f"the alias {name} does not exist, so {newest.name} is not searched"
        hint = Hint("load a document, which recreates the alias: ", Command("ingest", "PATH"))
        rows = f"{newest.name} has {newest.rows} rows" if newest.rows is not None else newest.state
        yield Trouble(name, message, hint, evidence=(rows,), component="vector-engine")


def _dimension(facts: Facts) -> Iterator[Trouble]:
    one, wanted = chunks(facts), facts[DEPLOYED].dimension
    if one is not None and one.dimension and one.dimension != wanted:
        message = f"it has dimension {one.dimension}, and the profile's model {wanted}: all searches fail"
        hint = Hint(f"set models.embedding to the model with dimension {one.dimension}, then: ", Command("up"))
        yield Trouble(one.name, message, hint, component="vector-engine")


def _model(facts: Facts) -> Iterator[Trouble]:
    stored, release = facts[STORED_MODEL], facts[DEPLOYED]
    if stored is None:
        return
    present = {
        "name": release.model,
        "dimension": release.dimension,
        "query_prefix": release.query_prefix,
        "document_prefix": release.document_prefix,
    }
    for part, now in present.items():
        before = getattr(stored, part)
        if before != now:
            message = f"the stored vectors were made with {part} {before!r}, and the profile sets {now!r}"
            hint = Hint(
                f"set models.embedding.{part} back, or load the documents into a new workspace; then: ", Command("up")
            )
            yield Trouble("models.embedding", message, hint, component="lightrag-api")


def _expiring(facts: Facts) -> Iterator[Trouble]:
    for one in facts[COLLECTIONS]:
        if one.ttl_s and one.name.startswith(f"{facts[DEPLOYED].workspace}_"):
            message = f"Milvus deletes its rows after {one.ttl_s / 86400:.1f} days (collection.ttl.seconds)"
            yield Trouble(one.name, message, Hint("remove the property: alter_collection_properties, ttl 0"))


def _zero(facts: Facts) -> Iterator[Trouble]:
    sample = facts[ROW_SAMPLE]
    bad = sample.zero + sample.not_finite
    if bad and bad > sample.rows * _SOME_ZERO:
        message = f"{bad} of {sample.rows} sampled vectors are zero or not numbers: no search returns them"
        hint = Hint("fix the embedding model, then load the documents again: ", Command("ingest", "PATH"))
        yield Trouble(sample.collection, message, hint)


_SOME_ZERO = 0.05


def _not_unit(facts: Facts) -> Iterator[Trouble]:
    sample = facts[ROW_SAMPLE]
    good = sample.rows - sample.zero - sample.not_finite
    if facts[DEPLOYED].metric == "IP" and sample.unit < good:
        message = f"{good - sample.unit} of {sample.rows} sampled vectors are not of length 1, and the metric is IP"
        hint = Hint("set index.metric to COSINE in a new workspace, or serve a model that normalizes")
        yield Trouble(sample.collection, message, hint)


def _unreadable(facts: Facts) -> Iterator[Trouble]:
    for one in facts[COLLECTIONS]:
        if one.error:
            message = f"its description cannot be read:  {one.error}"
            yield Trouble(one.name, message, Hint("see: ", Command("logs", "vector-engine")), component="vector-engine")


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.DATA, symptoms=(WRONG,))
_NEEDS = (COLLECTIONS, DEPLOYED)
_AGAIN = Hint("load the documents again: ", Command("ingest", "PATH"))

CHECKS = (
    _check(
        code="LR501",
        title="the passages of all documents are stored",
        severity=_ERROR,
        needs=(*_NEEDS, DOCUMENTS),
        judge=_fewer,
        fix=_AGAIN,
        explains=("LR554",),
    ),
    _check(
        code="LR517",
        title="the collection of recorded documents exists",
        severity=_ERROR,
        needs=(*_NEEDS, DOCUMENTS),
        judge=_gone,
        fix=_AGAIN,
        symptoms=(WRONG, UNAVAILABLE),
        explains=("LR142", "LR159", "LR176", "LR201", "LR217", "LR221", "LR554"),
    ),
    _check(
        code="LR518",
        title="no other release keeps its data in the same place",
        severity=_ERROR,
        needs=(STORE_PLACES, DEPLOYED),
        judge=_shared,
        fix=Hint("give each release its own root_path"),
        symptoms=(WRONG, UNAVAILABLE),
        follows=False,
        explains=("LR501", "LR516", "LR517"),
    ),
    _check(
        code="LR502",
        title="every stored passage belongs to a document",
        severity=_WARNING,
        needs=(*_NEEDS, DOCUMENTS),
        judge=_more,
        fix=_AGAIN,
    ),
    _check(
        code="LR503",
        title="ids are unique",
        severity=_ERROR,
        needs=(ROW_SAMPLE,),
        judge=_twice,
        fix=_AGAIN,
    ),
    _check(
        code="LR504",
        title="no collection of another model is left over",
        severity=_WARNING,
        needs=_NEEDS,
        judge=_other_models,
        fix=Hint(
            "drop the collection when the documents of the current model are complete; or set models.embedding back"
        ),
    ),
    _check(
        code="LR505",
        title="no collection is left over from a migration",
        severity=_WARNING,
        needs=(COLLECTIONS,),
        judge=_leftovers,
        fix=Hint("compare its rows with those of the current collection, then drop it"),
    ),
    _check(
        code="LR506",
        title="collection names include their model",
        severity=_WARNING,
        needs=_NEEDS,
        judge=_unsuffixed,
        fix=Hint("drop the collection when the one with the name of its model is complete"),
    ),
    _check(
        code="LR507",
        title="no document is unfinished",
        severity=_WARNING,
        needs=(DOCUMENTS, THRESHOLDS),
        judge=_stuck,
        fix=_AGAIN,
    ),
    _check(
        code="LR508",
        title="documents are chunked with the profile's settings",
        severity=_WARNING,
        needs=(DOCUMENTS,),
        judge=_outdated,
        fix=_AGAIN,
    ),
    _check(
        code="LR509",
        title="the alias of the passages exists",
        severity=_ERROR,
        needs=_NEEDS,
        judge=_no_alias,
        fix=_AGAIN,
        explains=("LR201", "LR517", "LR554"),
    ),
    _check(
        code="LR510",
        title="the passages of the workspace belong to the current model",
        severity=_ERROR,
        needs=_NEEDS,
        judge=_only_others,
        fix=Hint("set models.embedding back, or load the documents again: ", Command("ingest", "PATH")),
        explains=("LR504", "LR517", "LR554"),
    ),
    _check(
        code="LR511",
        title="the collection has the model's dimension",
        severity=_ERROR,
        needs=_NEEDS,
        judge=_dimension,
        fix=Hint("make the profile and the collection agree"),
        symptoms=(WRONG, UNAVAILABLE),
        explains=("LR201", "LR217", "LR221", "LR142", "LR159", "LR176", "LR551", "LR552"),
    ),
    _check(
        code="LR512",
        title="the stored vectors are of the profile's model",
        severity=_ERROR,
        needs=(STORED_MODEL, DEPLOYED),
        judge=_model,
        fix=Hint("make the profile and the stored model agree"),
        symptoms=(WRONG, UNAVAILABLE),
        explains=("LR201", "LR221", "LR142", "LR159", "LR176", "LR551"),
    ),
    _check(
        code="LR513",
        title="Milvus does not delete rows by their age",
        severity=_WARNING,
        needs=_NEEDS,
        judge=_expiring,
        fix=Hint("remove the property collection.ttl.seconds of the collection in Milvus"),
    ),
    _check(
        code="LR514",
        title="stored vectors are finite and not zero",
        severity=_ERROR,
        needs=(ROW_SAMPLE,),
        judge=_zero,
        fix=_AGAIN,
        explains=("LR551", "LR552"),
    ),
    _check(
        code="LR515",
        title="vectors are normalized where the metric needs it",
        severity=_ERROR,
        needs=(ROW_SAMPLE, DEPLOYED),
        judge=_not_unit,
        fix=Hint("set index.metric to COSINE in a new workspace, or serve a model that normalizes its vectors"),
    ),
    _check(
        code="LR516",
        title="the store describes every collection",
        severity=_WARNING,
        needs=(COLLECTIONS,),
        judge=_unreadable,
        fix=Hint("see: ", Command("logs", "vector-engine")),
    ),
)
