"""Shipped profiles, profiles with overrides, plans, and new profiles. Reads files."""

import functools
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from lightragctl.components import all_components
from lightragctl.core import assets
from lightragctl.core.component import Plan, Values
from lightragctl.core.errors import LightragctlError, ProfileError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.layers import (
    Layer,
    Origin,
    decoded,
    find_profile,
    merge,
    parse_layer,
    parse_set,
    read_layer,
    read_layers,
)
from lightragctl.core.placement import filled, unset
from lightragctl.core.profile import LoadedProfile, Runtime, check, is_dns_label
from lightragctl.core.settings import LAST_PORT, ServiceSettings

if TYPE_CHECKING:
    from lightragctl.core.findings import Finding

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

DEFAULT_PROFILE = "local"


def shipped_profiles() -> Path:
    """The folder of the shipped profiles."""
    return assets.root() / "profiles"


def load_profile(
    reference: str | None, values: Sequence[Path] = (), assignments: Sequence[str] = (), namespace: str | None = None
) -> LoadedProfile:
    """The profile of a name or path (`local` when None) with overrides: files, KEY=VALUE texts, a namespace.

    Raises:
        ProfileError: a file is missing, a value is wrong, or a required one is missing.
    """
    reference = reference or DEFAULT_PROFILE
    return _checked(reference, _layer(reference, values, assignments, namespace))


def draft_profile(
    reference: str | None, values: Sequence[Path] = (), assignments: Sequence[str] = (), namespace: str | None = None
) -> LoadedProfile:
    """A profile to show: required values that are not set are placeholders `<...>`.

    Raises:
        ProfileError: a file is missing or a value is wrong.
    """
    reference = reference or DEFAULT_PROFILE
    layer = _layer(reference, values, assignments, namespace)
    shown, origins = layer.values, dict(layer.origins)
    blanks = {key: f"<{what}>" for key, what in unset(layer.values).items()}
    for key, blank in blanks.items():
        shown = filled(shown, key, blank)
        origins[tuple(key.split("."))] = Origin("not set")
    return _checked(reference, Layer(shown, origins), frozenset(blanks.values()))


def _layer(reference: str, values: Sequence[Path], assignments: Sequence[str], namespace: str | None) -> Layer:
    shipped = shipped_profiles()
    layers = read_layers(reference, shipped)
    layers += [_standard_input() if path == _STDIN else read_layer(path, shipped) for path in values]
    layers += [parse_set(assignment) for assignment in assignments]
    if namespace:
        layers.append(Layer({"namespace": namespace}, {("namespace",): Origin("--namespace")}))
    return merge(layers)


_STDIN = Path("-")


@functools.cache
def _standard_input() -> Layer:
    """Standard input as a layer, read once."""
    source = "standard input"
    return parse_layer(decoded(sys.stdin.buffer.read(), source), source)


def _checked(reference: str, layer: Layer, blanks: Collection[str] = ()) -> LoadedProfile:
    name = find_profile(reference, shipped_profiles(), Path()).stem
    return check(name, layer, {component.name: component.values for component in all_components()}, blanks)


def make_plan(release: str, loaded: LoadedProfile) -> Plan:
    """The plan of a profile under a release name: the enabled components that it does not replace.

    Raises:
        ProfileError: a component's values cannot run on the profile's runtime.
    """
    sections = loaded.profile.components
    chosen = {
        component.name: component
        for component in all_components()
        if isinstance(section := sections.get(component.name), Values) and section.enabled and not section.address
    }
    enabled = Plan(release, loaded.name, loaded.profile, chosen)
    chosen = {name: one for name, one in chosen.items() if one.replaced is None or not one.replaced(enabled)}
    plan = Plan(release, loaded.name, loaded.profile, chosen)
    _check_ports(plan)
    for component in chosen.values():
        if component.unsupported and (found := component.unsupported(plan)):
            raise ProfileError(f"profile '{loaded.name}': {component.name}: {found.message}", found.hint)
        if component.settings:
            component.settings(plan)  # refuses a plan that lacks what the component needs
        if component.environment:
            component.environment(plan)
    return plan


def _check_ports(plan: Plan) -> None:
    """Reject ports that the port offset raises above the maximum.

    Raises:
        ProfileError: with the component.
    """
    for name in plan.components:
        if (port := plan.port(name)) > LAST_PORT:
            message = f"{name} would listen on port {port}, above the maximum {LAST_PORT}"
            raise ProfileError(message, f"lower components.{name}.port or local.port_offset")


def judge_plan(plan: Plan) -> "list[Finding]":
    """Findings about the plan that need no cluster."""
    if plan.profile.runtime is not Runtime.KUBERNETES:
        return []
    from lightragctl.checks.lint import lint, rendered_plan
    from lightragctl.deploy.render import render_plan

    return lint(rendered_plan(plan, render_plan(plan, assets.root() / "templates")))


def start_profile(name: str, base: str) -> Path:
    """Write NAME.yaml to the working directory: it extends a shipped profile.

    Raises:
        UsageError: the name is invalid, or the file exists.
        ProfileError: there is no such shipped profile.
    """
    path = Path(f"{name.removesuffix('.yaml')}.yaml")
    if not is_dns_label(path.stem) or path.parent != Path():
        raise UsageError(f"'{name}' is not a valid profile name: use lower-case letters, digits and -, a letter first")
    text = _started(base)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", "choose another name or remove it") from error
    except OSError:
        path.unlink(missing_ok=True)  # half a profile would be taken for a whole one
        raise
    return path


def _started(base: str) -> str:
    """The text of a new profile: placeholders for required values, else the lines of `base` as comments."""
    shipped = shipped_profiles()
    text = find_profile(base, shipped, Path()).read_text(encoding="utf-8")
    asked: dict[str, Any] = {}
    for key, what in unset(merge(read_layers(base, shipped)).values).items():
        asked = filled(asked, key, what)
    if asked:
        about = f"# Set these required values. Add any other values that differ from '{base}'; show all of them with:\n"
        show = f"#   {Command('profiles show', f'--origin --profile {base}')}\n"
        return f"extends: {base}\n\n{about}{show}" + "\n".join(_to_fill_in(asked, "")) + "\n"
    lines = [f"# {line}".rstrip() for line in text.splitlines()]
    head = f"# Uncomment what should differ from the shipped profile '{base}'.\nextends: {base}\n\n"
    return head + "\n".join(lines) + "\n"


def _to_fill_in(asked: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, inner in asked.items():
        if isinstance(inner, Mapping):
            yield f"{indent}{key}:"
            yield from _to_fill_in(inner, indent + "  ")
        else:
            yield f"{indent}{key}:  # {inner}"


def service_settings(file: Path | None, model: type[SettingsT], plan: Callable[[], Plan], component: str) -> SettingsT:
    """The settings of a service: from its file, else from the plan, which is only then made.

    Raises:
        LightragctlError: the file is missing or invalid, or the profile does not enable the component.
    """
    if file is not None:
        try:
            return model.model_validate_json(file.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise LightragctlError(
                f"cannot read settings {file}: {error}", Hint("rewrite it: ", Command("up"))
            ) from error
    made = plan()
    chosen = made.components.get(component)
    settings = chosen.settings(made) if chosen and chosen.settings else None
    if not isinstance(settings, model):
        raise UsageError(f"profile '{made.profile_name}' does not enable {component}")
    return settings
