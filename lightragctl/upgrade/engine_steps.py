"""Steps that every upgrade of a vector store has: checks before, comparison with what was. I/O through the site."""

from collections.abc import Sequence

from lightragctl.core.result import Event
from lightragctl.operations.kind import Context
from lightragctl.upgrade import engine_checks
from lightragctl.upgrade.backing_up import skip_if_fresh
from lightragctl.upgrade.compared import failures
from lightragctl.upgrade.engine_site import EngineSite
from lightragctl.upgrade.gates import Judgement
from lightragctl.upgrade.preflight import check_release
from lightragctl.upgrade.promotion import RegressionError, verify
from lightragctl.upgrade.site import target
from lightragctl.upgrade.watching import judgement_data


def component_of_upgrade(context: Context) -> str:
    """The one component that is upgraded."""
    return str(context.record.parameters["components"][0])


def preflight(context: Context, site: EngineSite) -> None:
    """Refuse a release that is not ready, and save what has to be the same afterwards."""
    inventory = check_release(site.site.scope, context.record.id, target(context), ())
    context.save_original("revision", inventory.revision)
    skip_if_fresh(context, site.backup_age_s(context))
    with site.live(False) as engine:
        context.save_original("state", engine_checks.state(engine))
    context.save_result("preflight", "passed")


def save(context: Context, key: str, found: Sequence[Judgement]) -> None:
    """Keep verdicts in the record, and show them."""
    data = {**context.record.results.get("verdicts", {}), key: [judgement_data(one) for one in found]}
    context.save_result("verdicts", data)
    context.notify(Event("; ".join(f"{one.gate} {one.verdict}: {one.reason}" for one in found), key))


def refuse_worse(found: Sequence[Judgement]) -> None:
    """Raises RegressionError with the gates that do not pass."""
    if reasons := failures(found):
        raise RegressionError(f"the new version answers differently: {'; '.join(reasons)}")


def check(context: Context, site: EngineSite) -> None:
    """Compare rows and answers with those before.

    Raises:
        RegressionError: some are missing or differ.
    """
    found = judge_now(context, site)
    save(context, "after", found)
    refuse_worse(found)
    context.save_result("checked", True)


def judge_now(context: Context, site: EngineSite) -> list[Judgement]:
    """Rows and answers compared with those before."""
    with site.live(False) as engine:
        return engine_checks.judge_state(engine, context.record.originals["state"])


def verify_release(context: Context, site: EngineSite) -> None:
    """Raises when a search through the release does not succeed."""
    verify(context, site.site)
