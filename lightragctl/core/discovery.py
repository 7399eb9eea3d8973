"""Discovery of declarations: one named constant per module of a package."""

import importlib
import pkgutil
from typing import TypeVar

T = TypeVar("T")


def declared(package: str, constant: str, kind: type[T]) -> tuple[T, ...]:
    """Every `constant` in the modules of `package`, in the order of the modules' names.

    Raises:
        TypeError: a module lacks the constant or it has another type; a bug.
    """
    home = importlib.import_module(package)
    found = []
    for module in sorted(pkgutil.iter_modules(home.__path__), key=lambda module: module.name):
        value = getattr(importlib.import_module(f"{package}.{module.name}"), constant, None)
        if not isinstance(value, kind):
            raise TypeError(f"{package}.{module.name} must declare {constant}: {kind.__name__}")
        found.append(value)
    return tuple(found)
