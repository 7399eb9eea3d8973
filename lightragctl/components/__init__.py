"""The components that lightragctl deploys, one module each."""

from lightragctl.core.component import Component
from lightragctl.core.discovery import declared


def all_components() -> tuple[Component, ...]:
    """Every component."""
    return declared(__name__, "COMPONENT", Component)
