"""The upgrade of a vector store with one server: the new version on a copy first. A kind of operation.

The copy is filled as a clone is, answers recorded questions and searches for stored vectors beside the present server,
and is deleted. Only then the present server is replaced on its volume; for how long it does not answer is measured.
Without a canary there is no copy; the replacement and what follows stay the same.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from lightragctl.backup import restore
from lightragctl.backup.origin import WorkspaceOrigin
from lightragctl.backup.progress import Progress
from lightragctl.checks.preflight import check_quota
from lightragctl.checks.quota import object_counts, requested
from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.core.result import Event
from lightragctl.deploy.conditional import apply_over, delete_seen
from lightragctl.kube.objects import is_ready
from lightragctl.observe.kstatus import Status, compute
from lightragctl.operations.kind import Context, Hold, OperationKind, Step, Wait
from lightragctl.upgrade import engine_checks, in_place
from lightragctl.upgrade.backing_up import nested_backup
from lightragctl.upgrade.deployed import obstacle
from lightragctl.upgrade.engine_site import EngineSite
from lightragctl.upgrade.engine_steps import check, component_of_upgrade, preflight, refuse_worse, save, verify_release
from lightragctl.upgrade.promotion import RIGHTS, RegressionError, binder, demote, noted, promote, since_begun
from lightragctl.upgrade.shadow_objects import SUFFIX, claim_refs, is_own, shadow_object, shadow_ref
from lightragctl.upgrade.site import read_pods, target
from lightragctl.vectors.schema import lossy, server
from lightragctl.vectors.store import CollectionStore

_DAY_S = 24 * 3600.0
_POLL_S = 1.0


def shadow_kind(open_site: Callable[[Any], EngineSite]) -> OperationKind:
    """The kind of operation, given how its steps reach a release."""
    bound = binder(open_site)
    compared, checked = noted("compared"), noted("checked")
    return OperationKind(
        name="upgrade-shadow",
        version=1,
        limit_s=3 * _DAY_S,
        abort_on_failure=True,
        steps=(
            Step("preflight", "check the release", 300.0, bound(_preflight), noted("preflight")),
            *nested_backup().steps(),
            Step(
                "shadow", "start the new version with storage of its own", 1800.0, bound(_start), bound(_is_started),
                bound(_delete), Hold("compare", while_paused=True),
            ),
            Step("fill", "copy all rows to it", 2 * _DAY_S, bound(_fill), partial(_is_filled)),
            Step("compare", "compare the answers of both", 3600.0, bound(_compare), compared),
            Step("replace", "replace the server", 3600.0, bound(_replace), noted("outage_s"), bound(_put_back)),
            Step("check", "compare rows and answers with those before", 3600.0, bound(check), checked),
            Step("verify", "verify the release", 600.0, bound(verify_release), noted("verified")),
        ),
        rights=RIGHTS,
    )  # fmt: skip


def _has_shadow(context: Context) -> bool:
    return bool(context.record.parameters["canary"])


def _preflight(context: Context, site: EngineSite) -> None:
    _refuse_full(context, site)
    preflight(context, site)


def _refuse_full(context: Context, site: EngineSite) -> None:
    """Refuse a shadow for which a quota has no room."""
    scope = site.site.scope
    quotas = scope.cluster.select("v1", "ResourceQuota", scope.namespace)
    if quotas and _has_shadow(context):
        made = [shadow_object(target(context).objects, component_of_upgrade(context), context.record.id)]
        check_quota(quotas, requested(made) + object_counts(made), Counter())


def _start(context: Context, site: EngineSite) -> Wait | None:
    """Start the shadow; waits until its server answers."""
    if not _has_shadow(context):
        return None
    scope, component = site.site.guarded(context), component_of_upgrade(context)
    there = _live(context, site)
    if there is None:
        nodes = [str(pod["spec"].get("nodeName", "")) for pod in read_pods(site.site, component)]
        wanted = shadow_object(target(context).objects, component, context.record.id, next(iter(nodes), ""))
        apply_over(scope.cluster, wanted, None)
        return Wait(_POLL_S, "the shadow is being created")
    reason = obstacle(scope, f"{component}{SUFFIX}", there, since_begun(context))
    return Wait(_POLL_S, reason) if reason else None


def _live(context: Context, site: EngineSite) -> KubernetesObject | None:
    """The shadow.

    Raises:
        LightragctlError: there is one of another operation.
    """
    scope = site.site.scope
    there = scope.cluster.get(shadow_ref(scope.namespace, scope.release, component_of_upgrade(context)))
    if there is not None and not is_own(there, context.record.id):
        raise LightragctlError(f"{ref(there)} belongs to another operation", "delete it if that has ended")
    return there


def _is_started(context: Context, site: EngineSite) -> bool:
    if not _has_shadow(context):
        return True
    there = _live(context, site)
    return there is not None and compute(there).status is Status.CURRENT


def _delete(context: Context, site: EngineSite) -> None:
    """Delete the shadow with its volume; may be called any number of times."""
    scope = site.site.guarded(context)
    there = scope.cluster.get(shadow_ref(scope.namespace, scope.release, component_of_upgrade(context)))
    if there is None or not is_own(there, context.record.id):
        return
    delete_seen(scope.cluster, there)
    for claim in claim_refs(there):
        if (found := scope.cluster.get(claim)) is not None:
            scope.cluster.delete(claim, found["metadata"]["uid"])


def _pod(context: Context, site: EngineSite) -> KubernetesObject:
    found = [pod for pod in read_pods(site.site, f"{component_of_upgrade(context)}{SUFFIX}") if is_ready(pod)]
    if not found:
        raise LightragctlError("the shadow has no ready pod any more", Hint("see: ", Command("status")))
    return found[0]


def _fill(context: Context, site: EngineSite) -> None:
    """Copy every collection under its own name, and compare the rows; one that is there in part is begun again."""
    if not _has_shadow(context):
        return
    with site.live(False) as live, site.beside(_pod(context, site)) as other:
        names = live.store.list_collections()
        total = sum(live.store.row_count(name) for name in names if live.store.is_loaded(name))
        progress = _progress(context, 2 * total)
        for name in names:
            done = dict(context.record.results.get("filled", {}))
            if name in done:
                progress.rows += 2 * int(done[name])
                continue
            context.check()
            copied = _copy(live.store, other.store, name, progress)
            context.save_result("filled", {**done, name: copied})
    context.save_result("fill", "done")


def _copy(live: CollectionStore, other: CollectionStore, name: str, progress: Progress) -> int:
    """Copy one collection, and return how many rows it has.

    Raises:
        RefusedError: the new version cannot hold all of it.
        RegressionError: the copy differs.
    """
    schema, origin = live.describe(name), WorkspaceOrigin(live, "", [name], None)
    if lost := lossy(schema, server(other.server_version())):
        raise RefusedError(f"the new version cannot hold all of collection {name}: {'; '.join(lost)}", "")
    other.drop(name)
    restore.write_collection(origin.rows(name), schema, other, name, progress)
    wanted = origin.expected(name)
    if problems := restore.compare(other, name, wanted, progress):
        raise RegressionError(f"the new version does not return the rows that were written: {'; '.join(problems)}")
    return wanted.unique_keys


def _progress(context: Context, total: int) -> Progress:
    """Progress in rows, each written and read once, as that of the operation."""

    def notify(event: Event) -> None:
        data = event.data or {}
        context.report(data["rows"], max(data["total_rows"], data["rows"]), "rows", f"copied {event.subject}")

    return Progress(notify, lambda: context.now().timestamp(), total, "copied")


def _is_filled(context: Context) -> bool:
    return not _has_shadow(context) or "fill" in context.record.results


def _compare(context: Context, site: EngineSite) -> None:
    """Compare the answers of both servers.

    Raises:
        RegressionError: a gate does not pass.
    """
    if _has_shadow(context):
        questions = site.questions(context.notify)
        with site.live(False) as live, site.beside(_pod(context, site)) as other:
            found = engine_checks.judge_pair(live, other, questions)
        save(context, "shadow", found)
        refuse_worse(found)
    context.save_result("compared", True)


def _replace(context: Context, site: EngineSite) -> None:
    change = partial(promote, context, site.site, wait=False)
    in_place.replace(context, site, component_of_upgrade(context), change, "outage")


def _put_back(context: Context, site: EngineSite) -> None:
    """Go back to the image from before.

    Raises:
        RefusedError: the older version may not read the data any more.
    """
    if "outage_probed" not in context.record.results:  # nothing was applied yet
        return
    if context.record.parameters["one_way"]:
        raise RefusedError(
            "the older version may not read what the newer one has written",
            Hint("restore the backup into a new volume: ", Command("restore", "latest")),
        )
    change = partial(demote, context, site.site, wait=False)
    in_place.replace(context, site, component_of_upgrade(context), change, "outage_back")
