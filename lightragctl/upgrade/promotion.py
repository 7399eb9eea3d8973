"""What every strategy ends with: roll the new version out, back, and verify it by a search. I/O through the site."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.runtime import UpOptions
from lightragctl.deploy.rollback import rollback_target
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.operations.kind import Context, Right
from lightragctl.upgrade.site import Site, target

ROLLOUT_S = 1800.0
_PROBE_S = 120.0


class RegressionError(LightragctlError):
    """A gate failed."""

    code = "regression"


def binder(open_site: Callable[[Any], Any]) -> Callable[..., Callable[[Context], Any]]:
    """Makes steps of functions that take a context, the opened site and further arguments."""

    def bound(act: Callable[..., Any], *more: Any) -> Callable[[Context], Any]:
        return lambda context: act(context, open_site(context.resources), *more)

    return bound


def noted(name: str) -> Callable[[Context], bool]:
    """Observes whether a step has saved this result."""
    return partial(_is_noted, name)


def _is_noted(name: str, context: Context) -> bool:
    return name in context.record.results


def since_begun(context: Context) -> float:
    """Seconds since the current step began."""
    begun = [one.began_at for one in context.record.steps if one.state == "acting" and one.began_at]
    return (context.now() - begun[-1]).total_seconds() if begun else 0.0


def promote(context: Context, site: Site, wait: bool = True) -> None:
    """What `up` does with the new profile."""
    options = UpOptions(ROLLOUT_S, wait=wait, operation=context.record.id)
    roll_out(site.scope, target(context), options, lambda differences: None, context.notify)


def is_promoted(context: Context, site: Site) -> bool:
    """Whether the new profile is the one that was applied last."""
    inventory = read_inventory(site.scope)
    if inventory is None or inventory.phase != "applied":
        return False
    return bool(dict(inventory.profile) == context.record.parameters["profile"])


def demote(context: Context, site: Site, wait: bool = True) -> None:
    """Roll back to the revision from before, unless it is still the last one."""
    inventory, before = read_inventory(site.scope), context.record.originals["revision"]
    if inventory is None or (inventory.revision == before and inventory.phase == "applied"):
        return
    options = UpOptions(ROLLOUT_S, wait=wait, operation=context.record.id)
    roll_out(site.scope, rollback_target(site.scope, before), options, lambda differences: None, context.notify)


def verify(context: Context, site: Site) -> None:
    """Raises when a search through the release does not succeed."""
    site.prove(_PROBE_S, context.notify)
    context.save_result("verified", True)


_EVERY = ("get", "list", "create", "patch", "update", "delete")
RIGHTS = (
    Right("", ("pods",), ("get", "list", "delete")),
    Right("", ("pods/log", "events", "resourcequotas"), ("get", "list", "create", "patch", "delete")),
    Right("", ("pods/portforward",), ("get", "create")),
    Right("", ("namespaces",), ("get", "patch")),  # a release may own its namespace
    Right("", ("configmaps", "secrets", "services", "serviceaccounts", "limitranges"), _EVERY),
    Right("", ("persistentvolumeclaims",), _EVERY),
    Right("apps", ("deployments", "statefulsets", "replicasets"), _EVERY),
    Right("apps", ("daemonsets",), ("get", "list")),
    Right("", ("endpoints",), ("get", "list")),
    Right("autoscaling", ("horizontalpodautoscalers",), _EVERY),
    Right("policy", ("poddisruptionbudgets",), _EVERY),
    Right("networking.k8s.io", ("networkpolicies", "ingresses"), _EVERY),
    Right("coordination.k8s.io", ("leases",), ("get", "create", "update")),
)
"""What a Job may do: what `up` may, and reach pods."""
