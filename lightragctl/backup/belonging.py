"""Which collections of a store belong to a workspace. Pure."""

from collections.abc import Collection, Iterable, Mapping

from lightragctl.vectors.control import KINDS, control_name

_CONTROL = control_name("")


def collections_of(workspace: str, names: Mapping[str, Collection[str]]) -> list[str]:
    """The physical names of a workspace's collections, sorted.

    A name that fits several workspaces is the longest one's, as `a_chunks_chunks_m_8d` is of `a_chunks`, not of `a`.

    Args:
        workspace: its name.
        names: each physical name with its aliases; one that fits decides.
    """
    known = {one.removesuffix(_CONTROL) for one in names if is_control(one)} | {workspace}
    return sorted(
        physical
        for physical, aliases in names.items()
        if workspace in {_owner(one, known) for one in (physical, *aliases)}
    )


def is_control(name: str) -> bool:
    """Whether a collection is the control collection of a workspace."""
    return name.endswith(_CONTROL) and name != _CONTROL


def _owner(name: str, known: Iterable[str]) -> str | None:
    fitting = [workspace for workspace in known if _fits(name, workspace)]
    return max(fitting, key=len, default=None)


def _fits(name: str, workspace: str) -> bool:
    """A rest that has a kind again is of a workspace whose name goes on with that kind's first one."""
    if name == control_name(workspace):
        return True
    kind, _, rest = name.removeprefix(f"{workspace}_").partition("_")
    is_again = any(f"_{one}_" in f"_{rest}_" for one in KINDS)
    return name.startswith(f"{workspace}_") and kind in KINDS and not is_again
