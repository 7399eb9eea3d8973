"""The kinds of operations that upgrade a release, by strategy."""

from collections.abc import Mapping

from lightragctl.operations.kind import OperationKind
from lightragctl.upgrade.engine_site import engine_site_of
from lightragctl.upgrade.plan import Strategy
from lightragctl.upgrade.site import site_of
from lightragctl.upgrade.strategies.replicas import replicas_kind
from lightragctl.upgrade.strategies.roles import roles_kind
from lightragctl.upgrade.strategies.shadow import shadow_kind
from lightragctl.upgrade.strategies.writer import writer_kind
from lightragctl.upgrade.writer_site import writer_site_of

UPGRADE = replicas_kind(site_of)
BY_STRATEGY: Mapping[Strategy, OperationKind] = {
    Strategy.REPLICAS: UPGRADE,
    Strategy.ROLLING: UPGRADE,
    Strategy.SHADOW: shadow_kind(engine_site_of),
    Strategy.ROLES: roles_kind(engine_site_of),
    Strategy.WRITER: writer_kind(writer_site_of),
}
KINDS: tuple[OperationKind, ...] = tuple({one.name: one for one in BY_STRATEGY.values()}.values())
