"""Plans and starts a re-embedding for its command."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lightragctl.cli.options import Session
from lightragctl.cli.reembed.options import Wanted
from lightragctl.core.errors import ExitStatus, RefusedError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import Event, Result

if TYPE_CHECKING:
    from lightragctl.core.settings import EmbeddingModel
    from lightragctl.operations.model import Operation
    from lightragctl.reembed.cost import Cost
    from lightragctl.reembed.site import Target

_MOST_BYTES = 100_000
"""Of questions and judgements, which are in the operation's record."""


@dataclass(frozen=True)
class Prepared:
    """What an operation is started with.

    Attributes:
        old, new: the models.
        target: the profile that the release gets.
        lines: of the profile that change, `KEY: VALUE`.
        seeds: by the name that a collection gets: earlier vectors of the model.
    """

    old: "EmbeddingModel"
    new: "EmbeddingModel"
    target: "Target"
    lines: tuple[str, ...]
    workspace: str
    seeds: Mapping[str, str]


def preview(session: Session, wanted: Wanted) -> Result:
    """What would be embedded, at which rate, and which lines of the profile would change."""
    from lightragctl.cli.reembed import payloads

    prepared = prepare(session, wanted)
    with session.out.live() as notify:
        notify(Event("measuring the new model", prepared.new.name, passing=True))
        return payloads.preview(prepared.old.name, prepared.new.name, _cost(session, prepared, wanted), prepared.lines)


def reembed(session: Session, wanted: Wanted, foreground: bool, service_account: str) -> Result:
    """Ask with the cost, start the operation, and stay with it."""
    from lightragctl.cli.operations.driving import start
    from lightragctl.cli.operations.steering import outcome
    from lightragctl.operations.model import JobSpec, Phase
    from lightragctl.reembed.kinds import REEMBED

    prepared = prepare(session, wanted)
    judged = _judged(wanted)
    with session.out.live() as notify:
        notify(Event("measuring the new model", prepared.new.name, passing=True))
        found = _cost(session, prepared, wanted)
    session.out.notify(Event(headline(prepared, found), session.release.name))
    if session.out.interactive:
        session.confirm(f"Embed {found.total} texts with {prepared.new.name}, and switch the release to it?")
    parameters = {
        "profile_name": prepared.target.profile_name,
        "profile": dict(prepared.target.profile),
        "old": prepared.old.model_dump(mode="json"),
        "cost": {**asdict(found), "total": found.total},
        "seeds": dict(prepared.seeds),
        "max_drop": wanted.max_drop,
        "max_rate": wanted.max_rate,
        "timeout_s": wanted.timeout_s,
        **judged,
    }
    spec = None if foreground else JobSpec(service_account=service_account, cpu="2", memory="1Gi")
    record = start(session, REEMBED, parameters, prepared.workspace, spec)
    result = outcome(session.command, record, Phase.SUCCEEDED)
    lines = list(prepared.lines) if result.exit_status == ExitStatus.DONE else []
    return replace(result, payload={**result.data, "profile_lines": lines})


def headline(prepared: Prepared, found: "Cost") -> str:
    """The cost in one line."""
    took = "" if found.seconds is None else f", about {_duration(found.seconds)} at {found.texts_per_s:.1f} texts/s"
    text = f"{found.total} texts of about {found.characters} characters, {found.tokens} tokens{took}"
    return f"embedding {text} from {prepared.old.name} to {prepared.new.name}"


def prepare(session: Session, wanted: Wanted) -> Prepared:
    """The profile that the release would get.

    Raises:
        UsageError: no model is given, or there is nothing to undo.
        ProfileError: a value of `--to` is wrong.
    """
    from lightragctl.core.layers import Layer, merge, parse_set
    from lightragctl.reembed.model import model_of
    from lightragctl.reembed.site import Target, applied_model
    from lightragctl.release.recorded import checked_profile

    applied = session.release.runtime.applied()
    settings = applied_model(applied)
    if wanted.undo:
        target, seeds = _before(session)
    else:
        if not wanted.model:
            raise UsageError("no model is given", "use --model NAME")
        given = [f"models.embedding.name={wanted.model}", *(wanted.to or ())]
        if wanted.dimension is not None:
            given.append(f"models.embedding.dimension={wanted.dimension}")
        values = merge([Layer(dict(applied.values)), *map(parse_set, given)]).values
        target, seeds = Target(applied.profile_name, values), {}
    loaded = checked_profile(target.profile_name, target.profile)
    target = Target(target.profile_name, loaded.profile.model_dump(mode="json"))
    new = model_of(target.plan(session.release.name))
    if new.suffix == settings.embedding.suffix:
        message = f"the release uses {new.name} with {new.dimension} dimensions now"
        raise RefusedError(message, "give the new model another name: collections are named by model and dimension")
    return Prepared(settings.embedding, new, target, _lines(applied.values, target.profile), settings.workspace, seeds)


def _before(session: Session) -> "tuple[Target, dict[str, str]]":
    """The profile before the last re-embedding, and the vectors that it kept.

    Raises:
        UsageError: there is none, or its vectors were deleted.
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.reembed.site import Target

    record = _last(operator(session).place.store.records())
    saved = record.originals["release"]
    kept = {one.name.removeprefix("collection:") for one in record.kept}
    seeds = {one["old_alias"] or one["source"]: one["kept"] for one in record.results["moves"] if one["kept"] in kept}
    if not seeds:
        hint = Hint("embed again instead: ", Command("reembed", "--model NAME"))
        raise UsageError(f"the vectors before operation {record.id} were deleted", hint)
    return Target(saved["profile_name"], saved["profile"]), seeds


def _last(records: "list[Operation]") -> "Operation":
    from lightragctl.operations.model import Phase

    found = next((one for one in records if one.kind == "reembed" and one.phase is Phase.SUCCEEDED), None)
    if found is None:
        raise UsageError("there is no re-embedding to undo", Hint("see: ", Command("operations list")))
    return found


def _lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The values that differ, as lines `KEY: VALUE`."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return tuple(f"{key}: {value}" for key, value in sorted(new.items()) if old.get(key) != value)


def _leaves(values: Mapping[str, Any], start: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += (
            _leaves(value, f"{start}{key}.") if isinstance(value, Mapping) and value else [(f"{start}{key}", value)]
        )
    return found


def _judged(wanted: Wanted) -> dict[str, Any]:
    """Questions and judgements as parameters.

    Raises:
        UsageError: one of both files is missing, or they are too large for the operation's record.
    """
    from lightragctl.bench.questions import read

    if wanted.questions is None and wanted.qrels is None:
        return {"questions": [], "qrels": {}}
    if wanted.questions is None or wanted.qrels is None:
        raise UsageError("both models are compared by judged questions", "use --questions FILE and --qrels FILE")
    asked = read(wanted.questions, wanted.qrels)
    chosen = [list(one) for one in asked.questions if one.id in asked.qrels]
    if len(str(chosen)) + len(str(asked.qrels)) > _MOST_BYTES:
        raise UsageError(f"questions and judgements take more than {_MOST_BYTES} characters", "use fewer of them")
    return {"questions": chosen, "qrels": {key: dict(grades) for key, grades in asked.qrels.items()}}


def _cost(session: Session, prepared: Prepared, wanted: Wanted) -> "Cost":
    """What there is to embed, and how fast the new model is."""
    from lightragctl.reembed import cost, names
    from lightragctl.reembed.site import open_site

    with (
        open_site(session.release, prepared.target, prepared.old, wanted.timeout_s, session.out.notify) as site,
        site.open_new() as model,
    ):
        planned = names.moves(site.schemas(), site.workspace, prepared.old, prepared.new, "0")
        found = cost.estimate(site.store, [one.source for one in planned], model.passages)
        rate = min(found.texts_per_s or 0, wanted.max_rate or float("inf"))
        return replace(found, texts_per_s=rate or None, seconds=found.total / rate if rate else None)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
