"""What lightragctl deploys, one file per component."""

from lightragctl.core.component import Component
from lightragctl.core.discovery import declared


def all_components() -> tuple[Component, ...]:
    """Every component that lightragctl knows."""
    return declared(__name__, "COMPONENT", Component)
