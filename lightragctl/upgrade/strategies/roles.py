"""The upgrade of a Milvus cluster: its roles one after the other, each verified before the next. A kind of operation.

The order is that of the component (`Component.update_order`), reversed for a downgrade. With a canary, one query node
and one proxy of the new version join before the others of their role are replaced, and leave after that.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lightragctl.core.errors import RefusedError, UnavailableError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.core.result import Event
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.conditional import apply_over
from lightragctl.deploy.revision_store import read_revision
from lightragctl.deploy.rollout_plan import check_cluster, plan_rollout
from lightragctl.kube.labels import ROLE, component_of
from lightragctl.kube.objects import labels_of
from lightragctl.operations.kind import Context, OperationKind, Step, Wait
from lightragctl.upgrade.backing_up import nested_backup
from lightragctl.upgrade.canary import canary_ref
from lightragctl.upgrade.data_plans import FIRST, role_order
from lightragctl.upgrade.deployed import apply_canary, delete_canaries, obstacle
from lightragctl.upgrade.engine_site import EngineSite
from lightragctl.upgrade.engine_steps import (
    check,
    component_of_upgrade,
    judge_now,
    preflight,
    refuse_worse,
    save,
    verify_release,
)
from lightragctl.upgrade.promotion import (
    RIGHTS,
    ROLLOUT_S,
    binder,
    demote,
    is_promoted,
    noted,
    promote,
    since_begun,
)
from lightragctl.upgrade.site import target

_DAY_S = 24 * 3600.0
_POLL_S, _BACK_S = 2.0, 1800.0
_DONE, _APPLIED, _JOINED = "roles", "applied", "joined"


def roles_kind(open_site: Callable[[Any], EngineSite]) -> OperationKind:
    """The kind of operation, given how its steps reach a release."""
    bound = binder(open_site)
    count = len(role_order(downgrade=False))
    steps = [
        Step(
            f"role-{place + 1}", f"upgrade role {place + 1} of {count}", 7200.0, bound(_upgrade, place),
            partial(_is_upgraded, place), bound(_put_back, place),
        )
        for place in range(count)
    ]  # fmt: skip
    return OperationKind(
        name="upgrade-roles",
        version=1,
        limit_s=3 * _DAY_S,
        abort_on_failure=True,
        steps=(
            Step("preflight", "check the release", 300.0, bound(preflight), noted("preflight")),
            *nested_backup().steps(),
            *steps,
            Step("record", "record the new revision", 7200.0, bound(_record), bound(_is_recorded), bound(_forget)),
            Step("check", "compare rows and answers with those before", 3600.0, bound(check), noted("checked")),
            Step("verify", "verify the release", 600.0, bound(verify_release), noted("verified")),
        ),
        rights=RIGHTS,
    )


def workload_of(objects: Sequence[KubernetesObject], component: str, role: str) -> KubernetesObject:
    """The workload of a role."""
    return next(
        one
        for one in objects
        if component_of(one) == component and "template" in one.get("spec", {}) and _role(one) == role
    )


def _role(workload: KubernetesObject) -> str:
    return str(labels_of(workload["spec"]["template"]).get(ROLE, ""))


def _role_of(context: Context, place: int) -> str:
    return role_order(bool(context.record.parameters["downgrade"]))[place]


def _noted_roles(context: Context, key: str) -> dict[str, Any]:
    return dict(context.record.results.get(key, {}))


def _note(context: Context, key: str, role: str) -> None:
    context.save_result(key, {**_noted_roles(context, key), role: context.now().isoformat()})


def _is_upgraded(place: int, context: Context) -> bool:
    return _role_of(context, place) in _noted_roles(context, _DONE)


def _upgrade(context: Context, site: EngineSite, place: int) -> Wait | None:
    """One pod first where that is wanted, then the whole role; waits until its pods are ready, and compares answers.

    Raises:
        RegressionError: rows or answers differ from those before.
    """
    role = _role_of(context, place)
    if role not in _noted_roles(context, _APPLIED):
        if wait := _join(context, site, role):
            return wait
        scope, wanted = site.site.guarded(context), _planned(context, site, role)
        context.notify(Event("replacing the pods", role))
        _note(context, _APPLIED, role)
        apply_over(scope.cluster, wanted, scope.cluster.get(ref(wanted)))
    if reason := _obstacle(context, site, workload_of(target(context).objects, component_of_upgrade(context), role)):
        return Wait(_POLL_S, reason)
    _verify_role(context, site, role)
    delete_canaries(site.site.guarded(context), context.record.id)
    _note(context, _DONE, role)
    return None


def _planned(context: Context, site: EngineSite, role: str) -> KubernetesObject:
    """The workload of a role as a rollout would apply it."""
    scope, desired = site.site.scope, target(context)
    options = UpOptions(ROLLOUT_S, operation=context.record.id)
    objects = plan_rollout(scope, desired, options, check_cluster(scope, desired)).objects
    return workload_of(objects, component_of_upgrade(context), role)


def _join(context: Context, site: EngineSite, role: str) -> Wait | None:
    """One pod of the new version beside the others of its role; waits until it is ready, and compares answers."""
    if role not in FIRST or not context.record.parameters["canary"] or role in _noted_roles(context, _JOINED):
        return None
    scope, component = site.site.guarded(context), component_of_upgrade(context)
    there = scope.cluster.get(canary_ref(scope.namespace, scope.release, f"{component}-{role}"))
    if there is None:
        context.notify(Event("one pod of the new version joins", role))
        apply_canary(scope, [_planned(context, site, role)], (component, 1), context.record.id)
        return Wait(_POLL_S, "the first pod is being created")
    if reason := obstacle(scope, component, there, since_begun(context)):
        return Wait(_POLL_S, reason)
    _verify_role(context, site, f"first {role}")
    _note(context, _JOINED, role)
    return None


def _obstacle(context: Context, site: EngineSite, wanted: KubernetesObject) -> str:
    scope = site.site.scope
    there = scope.cluster.get(ref(wanted))
    if there is None:
        return f"{ref(wanted)} does not exist"
    return obstacle(scope, component_of_upgrade(context), there, since_begun(context))


def _verify_role(context: Context, site: EngineSite, key: str) -> None:
    found = judge_now(context, site)
    save(context, key, found)
    refuse_worse(found)


def _put_back(context: Context, site: EngineSite, place: int) -> None:
    """The role as it was before, and no first pod of it.

    Raises:
        RefusedError: the older version may not read the data any more.
        UnavailableError: its pods are not ready yet.
    """
    role, scope = _role_of(context, place), site.site.guarded(context)
    delete_canaries(scope, context.record.id)
    if role not in _noted_roles(context, _APPLIED):
        return
    if context.record.parameters["one_way"]:
        raise RefusedError(
            "the older version may not read what the newer one has written",
            Hint("restore the backup into an empty cluster: ", Command("restore", "latest")),
        )
    before = read_revision(scope, int(context.record.originals["revision"]))
    if before is None:
        raise RefusedError("the revision from before is gone", Hint("see: ", Command("history")))
    wanted = workload_of(before.objects, component_of_upgrade(context), role)
    apply_over(scope.cluster, wanted, scope.cluster.get(ref(wanted)))
    if reason := _obstacle(context, site, wanted):
        raise UnavailableError(f"putting {role} back: {reason}")


def _record(context: Context, site: EngineSite) -> None:
    promote(context, site.site)


def _forget(context: Context, site: EngineSite) -> None:
    """Go back to the revision from before."""
    demote(context, site.site)


def _is_recorded(context: Context, site: EngineSite) -> bool:
    return is_promoted(context, site.site)
