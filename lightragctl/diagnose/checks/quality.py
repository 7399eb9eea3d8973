"""Checks of search results: whether stored vectors are found and reproduced by the model. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import WRONG, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    COLLECTIONS,
    DEPLOYED,
    GOLDEN,
    ROW_SAMPLE,
    SEARCHED,
)
from lightragctl.diagnose.lookup import chunks

_MANY_ROWS = 1000
_ALIKE = 0.98
"""Cosine between two vectors of one text; another model, another prefix give far less, another runtime 0.999."""


def _irreproducible(facts: Facts) -> Iterator[Trouble]:
    sample = facts[ROW_SAMPLE]
    if sample.reproduced is not None and sample.reproduced < _ALIKE:
        message = "the model returns a different vector for a stored passage than the stored one: the model has changed"
        hint = Hint("serve the model that embedded the passages, or load the documents into a new workspace")
        evidence = (f"cosine {sample.reproduced:.3f} of the same text, threshold {_ALIKE}",)
        yield Trouble(sample.collection, message, hint, evidence=evidence)


def _self(facts: Facts) -> Iterator[Trouble]:
    sample = facts[ROW_SAMPLE]
    if sample.found is False:
        message = "a search with a stored vector does not find its own row"
        hint = Hint("the index is damaged or not loaded in full: load it again, or rebuild the index")
        yield Trouble(sample.collection, message, hint, component="vector-engine", evidence=("top 10 of one search",))


def _no_golden(facts: Facts) -> Iterator[Trouble]:
    one = chunks(facts)
    if facts[DEPLOYED].production and not facts[GOLDEN].version and one is not None and (one.rows or 0) >= _MANY_ROWS:
        message = "there is no golden set, so a loss of quality would not be noticed"
        yield Trouble("golden set", message, Hint("build one: ", Command("golden build")))


def _nothing(facts: Facts) -> Iterator[Trouble]:
    one, searched = chunks(facts), facts[SEARCHED]
    if one is not None and one.rows and searched.status == 200 and not searched.hits:
        message = f"a search returns nothing, although {one.rows} passages are stored"
        hint = Hint("see: ", Command("logs", "lightrag-api"), "; compare: ", Command("golden check"))
        yield Trouble("lightrag-api", message, hint, component="lightrag-api")


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.QUALITY, symptoms=(WRONG,))
_NEEDS = (COLLECTIONS, DEPLOYED)

CHECKS = (
    _check(
        code="LR551",
        title="the model reproduces the stored vectors",
        severity=_ERROR,
        needs=(ROW_SAMPLE,),
        judge=_irreproducible,
        fix=Hint("serve the model that embedded the passages"),
    ),
    _check(
        code="LR552",
        title="a search finds stored passages",
        severity=_ERROR,
        needs=(ROW_SAMPLE,),
        judge=_self,
        fix=Hint("the index is damaged or loaded in part: release and load the collection, or rebuild its index"),
    ),
    _check(
        code="LR553",
        title="a production release has a golden set",
        severity=_WARNING,
        needs=(GOLDEN, *_NEEDS),
        judge=_no_golden,
        fix=Hint("build one: ", Command("golden build")),
    ),
    _check(
        code="LR554",
        title="a search returns passages",
        severity=_ERROR,
        needs=(SEARCHED, *_NEEDS),
        judge=_nothing,
        fix=Hint("see: ", Command("logs", "lightrag-api")),
    ),
)
