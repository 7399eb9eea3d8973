"""The kind of operation that rebuilds a collection with another index."""

from lightragctl.backup.replace import clean_up
from lightragctl.backup.rights import READS, SCALES, SERVER_KEY
from lightragctl.operations.kind import Context, Hold, OperationKind, Step
from lightragctl.tune.rebuild import Open, Rebuilding, open_ground

_DAY_S = 86_400.0
_CHECK_S, _WAIT_S, _SWITCH_S = 600.0, 7200.0, 3600.0


def rebuild_kind(open_work: Open = open_ground) -> OperationKind:
    """A rebuild: a copy with another index takes the place of a collection, which is kept.

    lightrag-server is stopped before the fence is taken, so that it starts after the fence is gone.
    """
    steps = Rebuilding(open_work)
    return OperationKind(
        name="rebuild",
        version=1,
        limit_s=3 * _DAY_S,
        steps=(
            Step("check", "check", _CHECK_S, steps.check, _noted("checked")),
            Step("copy", "copy rows and build the new index", 2 * _DAY_S, steps.copy, _noted("copied"), steps.uncopy),
            Step(
                "writer",
                "stop lightrag-server, if it writes to the collection",
                _WAIT_S,
                steps.stop_writer,
                _noted("writer_at_rest"),
                steps.start_writer,
                Hold("switch"),
            ),
            Step(
                "fence",
                "block writes to the workspace",
                _WAIT_S,
                steps.fence,
                steps.is_fenced,
                steps.unfence,
                Hold("switch"),
            ),
            Step("verify", "verify the copy", _DAY_S, steps.verify, steps.is_verified),
            Step("switch", "put the copy in place", _SWITCH_S, steps.switch, steps.is_switched, steps.unswitch),
            Step("confirm", "unload the previous collection", _SWITCH_S, steps.confirm, _noted("confirmed")),
        ),
        rights=(*READS, SCALES, SERVER_KEY),
        cleanup=clean_up,
    )


def _noted(name: str) -> "_Noted":
    return _Noted(name)


class _Noted:
    """Observes what a step noted when it was done."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, context: Context) -> bool:
        return bool(context.record.results.get(self._name))


REBUILD = rebuild_kind()
