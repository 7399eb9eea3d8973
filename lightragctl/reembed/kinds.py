"""Re-embedding as a kind of operation."""

from collections.abc import Callable

from lightragctl.backup.replace import clean_up
from lightragctl.operations.kind import Context, Hold, OperationKind, Step
from lightragctl.reembed.site import open_reembed
from lightragctl.reembed.steps import Open, Reembedding
from lightragctl.upgrade.kinds import UPGRADE

_DAY_S = 86_400.0
_CHECK_S, _EMBED_S, _SWITCH_S, _WAIT_S = 3600.0, 14 * _DAY_S, 3600.0, 7200.0
"""Fourteen days: a million texts at one a second."""


def reembed_kind(open_site: Open = open_reembed) -> OperationKind:
    """A workspace is embedded with another model beside the present vectors, compared, and switched to."""
    steps = Reembedding(open_site)
    return OperationKind(
        name="reembed",
        version=1,
        limit_s=15 * _DAY_S,
        steps=(
            Step("check", "check the new model and the texts", _CHECK_S, steps.check, _noted("checked")),
            Step(
                "copy", "embed the texts into new collections", _EMBED_S, steps.copy, _noted("copied"), steps.uncopy
            ),
            Step("compare", "compare the answers of both models", _CHECK_S, steps.compare, _noted("compared")),
            Step(
                "fence", "block writes to the workspace", _WAIT_S, steps.fence, steps.is_fenced, steps.unfence,
                Hold("switch"),
            ),
            Step(
                "writer", "stop lightrag-server, if it serves the workspace", _WAIT_S, steps.stop_writer,
                _noted("writer_at_rest"), steps.start_writer, Hold("switch"),
            ),
            Step("catch-up", "embed what was written meanwhile", _EMBED_S, steps.catch_up, steps.is_caught_up),
            Step("name", "name the new collections", _SWITCH_S, steps.name, steps.is_named, steps.unname),
            Step(
                "switch", "start the services with the new model", _SWITCH_S, steps.switch, steps.is_switched,
                steps.unswitch,
            ),
            Step(
                "confirm", "verify the release, and set the old vectors aside", _SWITCH_S, steps.confirm,
                _noted("confirmed"), steps.unconfirm,
            ),
        ),
        rights=UPGRADE.rights,
        cleanup=clean_up,
    )  # fmt: skip


def _noted(name: str) -> Callable[[Context], bool]:
    """Observes what the steps note when they are done."""
    return lambda context: bool(context.record.results.get(name))


REEMBED = reembed_kind()
