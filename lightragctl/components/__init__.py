"""The components that lightragctl deploys, one module each."""

from lightragctl.core.catalog import declared
from lightragctl.core.component import Component


def all_components() -> tuple[Component, ...]:
    """Every component."""
    return declared(__name__, "COMPONENT", Component)
