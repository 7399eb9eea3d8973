"""A release opened by what its inventory says, from inside its cluster: a Job's pod has no profile file."""

from collections.abc import Mapping
from typing import Any

from lightragctl.components import all_components
from lightragctl.core.errors import NotRunningError, UsageError
from lightragctl.core.layers import Layer
from lightragctl.core.profile import LoadedProfile, check
from lightragctl.deploy.inventory import Inventory
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.kube.client import connect
from lightragctl.kube.scope import Scope
from lightragctl.release.open import lock_holder
from lightragctl.release.release import Release, ReleaseOptions


def open_recorded(options: ReleaseOptions, environ: Mapping[str, str]) -> Release:
    """The release with the profile that it was brought up with.

    Args:
        options: its name and its namespace; the pod's own cluster unless they name another one.
        environ: the environment of the process.

    Raises:
        UsageError: the name or the namespace is missing.
        NotRunningError: there is no such release.
        ProfileError: this lightragctl does not understand that profile.
    """
    if not options.name or not options.namespace:
        raise UsageError("a recorded release is found by its name and namespace", "use --name RELEASE -n NAMESPACE")
    scope = Scope(connect(options.kubeconfig, options.context), options.namespace, options.name, lock_holder())
    inventory = read_inventory(scope)
    if inventory is None:
        raise NotRunningError(f"there is no release '{options.name}' in namespace {options.namespace}")
    return Release(options, environ, check_recorded(inventory))


def check_recorded(inventory: Inventory) -> LoadedProfile:
    """The profile that a release was brought up with.

    Raises:
        ProfileError: this lightragctl does not understand it.
    """
    return checked_profile(inventory.profile_name, inventory.profile)


def checked_profile(name: str, values: Mapping[str, Any]) -> LoadedProfile:
    """The profile of recorded values.

    Raises:
        ProfileError: this lightragctl does not understand them.
    """
    sections = {component.name: component.values for component in all_components()}
    return check(name, Layer(dict(values)), sections)
