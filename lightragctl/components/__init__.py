"""What lightragctl deploys, one file per component."""

from lightragctl.core.catalog import declared
from lightragctl.core.component import Component


def all_components() -> tuple[Component, ...]:
    """Every component that lightragctl knows."""
    return declared(__name__, "COMPONENT", Component)
