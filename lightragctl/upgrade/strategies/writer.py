"""The upgrade of lightrag-server, the only writer of its workspace: on a clone first. A kind of operation.

With a canary the workspace is cloned, a second server of the new version serves the clone, what questions find with
both is compared, and the clone is discarded. Then the server is stopped, the workspace is backed up while nothing
writes to it, and the new version starts on it. When rows or answers differ afterwards, the old version is put back and
the backup restored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lightragctl.backup.kinds import clone_kind, restore_kind
from lightragctl.backup.replace import clean_up
from lightragctl.backup.steps import rest, start
from lightragctl.core.errors import LightragctlError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event
from lightragctl.deploy.conditional import apply_over, delete_seen
from lightragctl.kube.objects import is_ready
from lightragctl.operations.kind import Context, Hold, OperationKind, Step, Wait
from lightragctl.operations.model import Operation
from lightragctl.operations.nested import Inner, Nested
from lightragctl.upgrade.backing_up import nested_backup
from lightragctl.upgrade.compared import Asked, judge
from lightragctl.upgrade.data_plans import WRITER_QUERIES
from lightragctl.upgrade.deployed import obstacle
from lightragctl.upgrade.engine_checks import searchable
from lightragctl.upgrade.engine_steps import component_of_upgrade, judge_now, preflight, refuse_worse, save
from lightragctl.upgrade.gates import Judgement
from lightragctl.upgrade.promotion import RIGHTS, binder, demote, is_promoted, noted, promote, since_begun, verify
from lightragctl.upgrade.shadow_objects import SUFFIX, is_own
from lightragctl.upgrade.site import read_pods, target
from lightragctl.upgrade.trial_objects import trial_objects
from lightragctl.upgrade.writer_site import WriterSite

_DAY_S = 24 * 3600.0
_POLL_S = 2.0
_QUESTION_CHARS = 200
_RESTORED = "restored"


def trial_workspace(record: Operation) -> str:
    """The name of the clone."""
    return f"{record.workspace}_upgrade_{record.id.rpartition('-')[2]}"


def as_clone(record: Operation) -> Operation:
    """The record as the steps of a clone see it."""
    given = {**record.parameters, "workspace": record.workspace, "allow_lossy": False}
    return record.changed(workspace=trial_workspace(record), parameters=given)


def as_restore(record: Operation) -> Operation:
    """The record as the steps of a restore see it."""
    given = {"backup": record.results["backup.backup"], "source": None, "allow_lossy": False}
    return record.changed(parameters={**record.parameters, **given})


def has_canary(context: Context) -> bool:
    """Whether the new version is tried on a clone."""
    return bool(context.record.parameters["canary"])


@dataclass(frozen=True)
class Parts:
    """The kinds of operations that this one consists of."""

    clone: Nested
    backup: Nested
    restore: Nested


def real_parts() -> Parts:
    """Of a release."""
    clone = Nested(clone_kind(), "clone", as_clone, has_canary)
    return Parts(clone, nested_backup(), Nested(restore_kind(), "restore", as_restore))


def writer_kind(open_site: Callable[[Any], WriterSite], parts: Parts | None = None) -> OperationKind:
    """The kind of operation, given how its steps reach a release."""
    bound, parts = binder(open_site), parts or real_parts()
    return OperationKind(
        name="upgrade-writer",
        version=1,
        limit_s=3 * _DAY_S,
        abort_on_failure=True,
        steps=(
            Step("preflight", "check the release", 600.0, bound(_preflight), noted("asked")),
            *parts.clone.steps(),
            Step(
                "trial", "start the new version on the clone", 7200.0, bound(_start_trial), bound(_is_trial_ready),
                bound(_delete_trial), Hold("compare", while_paused=True),
            ),
            Step("compare", "compare what both find", 3600.0, bound(_compare), noted("compared")),
            Step("discard", "discard the clone", 3600.0, partial(_discard, parts), noted("discarded")),
            Step(
                "stop", "stop lightrag-server", 7200.0, bound(_stop), noted("stopped"), bound(_start_again),
                Hold("start"),
            ),
            *parts.backup.steps(),
            Step(
                "start", "start the new version on the workspace", 2 * _DAY_S, bound(_start), bound(_is_started),
                bound(_restore, parts),
            ),
            Step("check", "compare rows and answers with those before", 3600.0, bound(_check), noted("checked")),
            Step("verify", "verify the release", 600.0, bound(_verify), noted("verified")),
        ),
        rights=RIGHTS,
        cleanup=clean_up,
    )  # fmt: skip


def _preflight(context: Context, site: WriterSite) -> None:
    """Check the release, and save what questions find now."""
    preflight(context, site.engine)
    questions = _questions(context, site)
    found = site.ask(questions, None)
    answers = [[question, list(one.hits)] for question, one in zip(questions, found, strict=True) if not one.error]
    context.save_original("answers", answers)
    context.save_result("asked", len(answers))


def _questions(context: Context, site: WriterSite) -> list[str]:
    """The beginnings of stored chunks of the workspace."""
    with site.engine.live(False) as engine:
        for name, schema in searchable(engine.store).items():
            if name.startswith(_chunks(context)) and schema.field("content"):
                batch = next(iter(engine.store.read_rows(name, schema)), None)
                texts = [] if batch is None else list(batch.columns["content"][:WRITER_QUERIES])
                return [str(text)[:_QUESTION_CHARS] for text in texts if str(text).strip()]
    return []


def _known(context: Context) -> tuple[list[str], list[Asked]]:
    """The questions with what they found before."""
    answers = context.record.originals["answers"]
    asked = [Asked(tuple((str(id), float(place)) for id, place in hits)) for _, hits in answers]
    return [str(question) for question, _ in answers], asked


def _judge(context: Context, site: WriterSite, pod: KubernetesObject | None) -> list[Judgement]:
    """What questions find now compared with before; places are no scores, so that only common chunks count.

    Nothing is compared where no chunk is stored; where there are some, no answer is no pass.
    """
    questions, before = _known(context)
    state = context.record.originals["state"]
    chunks = [one.get("rows", 0) for name, one in state.items() if name.startswith(_chunks(context))]
    if not sum(chunks):
        return []
    gates = ("errors", "overlap")
    return [one for one in judge(before, site.ask(questions, pod), (), is_all=True) if one.gate in gates]


def _chunks(context: Context) -> str:
    """How the names of the workspace's collections of chunks begin."""
    return f"{context.record.workspace}_chunks_"


def _start_trial(context: Context, site: WriterSite) -> Wait | None:
    if not has_canary(context):
        return None
    scope, component = site.engine.site.guarded(context), component_of_upgrade(context)
    made = trial_objects(target(context).objects, component, context.record.id, trial_workspace(context.record))
    for thing in made:
        there = scope.cluster.get(ref(thing))
        if there is None:
            apply_over(scope.cluster, thing, None)
        elif not is_own(there, context.record.id):
            raise LightragctlError(f"{ref(thing)} belongs to another operation", "delete it if that has ended")
    there = scope.cluster.get(ref(made[-1]))
    if there is None:
        return Wait(_POLL_S, "the second server is being created")
    reason = obstacle(scope, f"{component}{SUFFIX}", there, since_begun(context))
    return Wait(_POLL_S, reason) if reason else None


def _trial_pods(context: Context, site: WriterSite) -> list[KubernetesObject]:
    return [one for one in read_pods(site.engine.site, f"{component_of_upgrade(context)}{SUFFIX}") if is_ready(one)]


def _is_trial_ready(context: Context, site: WriterSite) -> bool:
    return not has_canary(context) or bool(_trial_pods(context, site))


def _delete_trial(context: Context, site: WriterSite) -> None:
    scope = site.engine.site.guarded(context)
    name = f"{scope.release}-{component_of_upgrade(context)}"
    for kind, api, own in (("StatefulSet", "apps/v1", name), ("ConfigMap", "v1", f"{name}-settings")):
        there = scope.cluster.get(ObjectRef(api, kind, scope.namespace, f"{own}{SUFFIX}"))
        if there is not None and is_own(there, context.record.id):
            delete_seen(scope.cluster, there)


def _compare(context: Context, site: WriterSite) -> None:
    """Compare what questions find with the new version on the clone.

    Raises:
        RegressionError: a gate does not pass.
    """
    if has_canary(context):
        pods = _trial_pods(context, site)
        if not pods:
            raise LightragctlError("the second server has no ready pod any more", Hint("see: ", Command("status")))
        found = _judge(context, site, pods[0])
        save(context, "trial", found)
        refuse_worse(found)
    context.save_result("compared", True)


def _discard(parts: Parts, context: Context) -> None:
    """Delete the clone: its collections and its files."""
    if has_canary(context):
        parts.clone.undo(context, "switch", "files", "copy")
    context.save_result("discarded", True)


def _stop(context: Context, site: WriterSite) -> None:
    """Stop the server; for how long is noted when it runs again."""
    rest(Inner(context, "stop"), site.control(context.notify))
    context.save_result("stopped", True)


def _start_again(context: Context, site: WriterSite) -> None:
    start(Inner(context, "stop"), site.control(context.notify))
    seconds = context.record.results.get("stop.writer_stopped_s")
    if seconds is not None and "outage_s" not in context.record.results:
        context.save_result("outage_s", seconds)
        context.notify(Event(f"stopped for {seconds:.1f} s", component_of_upgrade(context)))


def _start(context: Context, site: WriterSite) -> None:
    promote(context, site.engine.site)


def _is_started(context: Context, site: WriterSite) -> bool:
    return is_promoted(context, site.engine.site)


def _restore(context: Context, site: WriterSite, parts: Parts) -> None:
    """Put the old version back, then the backup: the new one may have rewritten files and collections."""
    if _RESTORED in context.record.results:
        return
    parts.backup.undo(context, "fence")  # the restore takes its own
    demote(context, site.engine.site, wait=False)
    if "backup.made" in context.record.results:
        context.notify(Event(f"restoring backup {context.record.results['backup.backup']}"))
        parts.restore.run(context, site.engine.pause)
    context.save_result(_RESTORED, True)


def _check(context: Context, site: WriterSite) -> None:
    """Compare rows and answers with those before.

    Raises:
        RegressionError: some are missing or differ.
    """
    found: Sequence[Judgement] = [*judge_now(context, site.engine), *_judge(context, site, None)]
    save(context, "after", found)
    refuse_worse(found)
    context.save_result("checked", True)


def _verify(context: Context, site: WriterSite) -> None:
    verify(context, site.engine.site)
