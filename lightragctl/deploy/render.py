"""Renders a plan to Kubernetes objects from Jinja templates, checked and sorted. Reads the templates only.

`templates/` has a folder per component with one file per object, and `release/` for those of the whole release;
`_macros.j2` has what they share. Templates get `release`, `namespace` and `profile`; those of a component also
`component`, `values`, `port`, `probes`, `settings` (the JSON that a process of ours is started with), `environment`,
`secrets` (environment variables from Secrets), `generated_key` (the Secret of the generated API key) and `parts`, and
all of these as `context`, for macros. Those in `release/` get the plan, the network policies, and
what the pod of scheduled backups needs.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from lightragctl.checks.names import check_names
from lightragctl.core.component import Component, Plan, start_order
from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, order, ref
from lightragctl.core.profile import Runtime
from lightragctl.core.serialize import json_text, yaml_text
from lightragctl.deploy.inventory import inventory_ref
from lightragctl.deploy.network import policies
from lightragctl.deploy.ownership import as_member
from lightragctl.deploy.scheduled import backup_pod, backup_secrets


def render_plan(plan: Plan, templates: Path) -> list[KubernetesObject]:
    """Every object of the plan, sorted; deterministic.

    Raises:
        RefusedError: the profile has another runtime, or a system namespace.
        UsageError: the release's name leads to object names that are too long.
        LightragctlError: a template is invalid; gives its name.
    """
    if plan.profile.runtime is not Runtime.KUBERNETES:
        raise RefusedError(
            f"profile '{plan.profile_name}' runs as local processes and has no manifests",
            Hint("use a profile for Kubernetes: ", Command("render", "--profile dev")),
        )
    _refuse_system_namespace(plan.profile.namespace)
    environment = _environment(templates)
    objects: list[KubernetesObject] = []
    whole = {
        "release": plan.release,
        "namespace": plan.profile.namespace,
        "profile": plan.profile,
        "plan": plan,
        "policies": policies(plan),
        "backup_pod": backup_pod(plan),
        "backup_secrets": backup_secrets(plan),
    }
    for template in sorted((templates / "release").glob("*.yaml.j2")):
        objects += _render(environment, f"release/{template.name}", whole)
    for name in start_order(plan.components):
        component = plan.components[name]
        for template in sorted((templates / name).glob("*.yaml.j2")):
            objects += _render(environment, f"{name}/{template.name}", _context(plan, component))
    parent = inventory_ref(plan.release, plan.profile.namespace)
    objects = [as_member(_named_by_content(thing), parent) for thing in objects]
    _refuse_twins(objects)
    check_names(objects, plan.release)
    return sorted(objects, key=order)


def render_folder(templates: Path, folder: str, context: dict[str, Any]) -> list[KubernetesObject]:
    """The objects of one folder of templates, in the order in which to create them.

    Args:
        templates: the folder of all templates.
        folder: a name in it.
        context: what its templates see.

    Raises:
        LightragctlError: a template is wrong; names it.
    """
    environment = _environment(templates)
    found = [
        thing
        for template in sorted((templates / folder).glob("*.yaml.j2"))
        for thing in _render(environment, f"{folder}/{template.name}", context)
    ]
    return sorted(found, key=order)


def _refuse_system_namespace(namespace: str) -> None:
    """A release's quotas, limits and policies apply to its whole namespace, and `down --purge` may delete it."""
    if namespace.startswith("kube-"):
        message = (
            f"namespace {namespace} is a system namespace: quotas and policies of a release would affect system pods"
        )
        raise RefusedError(message, "use another one: -n lightrag")


@functools.cache
def _environment(templates: Path) -> jinja2.Environment:
    """Compiles each template once; reloads one that has changed."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _named_by_content(thing: KubernetesObject) -> KubernetesObject:
    """A Job is immutable, so a changed one gets a new name and the old one is pruned."""
    if thing["kind"] != "Job":
        return thing
    digest = hashlib.sha256(json.dumps(thing["spec"], sort_keys=True).encode()).hexdigest()[:8]
    return {**thing, "metadata": {**thing["metadata"], "name": f"{thing['metadata']['name']}-{digest}"}}


def _context(plan: Plan, component: Component) -> dict[str, Any]:
    document = component.settings(plan).model_dump(mode="json") if component.settings else None
    settings = json_text(document, indent=1) if document else ""
    context: dict[str, Any] = {
        "release": plan.release,
        "namespace": plan.profile.namespace,
        "component": component.name,
        "values": plan.values(component.name),
        "profile": plan.profile,
        "port": plan.port(component.name),
        "probes": component.probes,
        "settings": settings,
        "settings_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "secrets": component.secrets(plan) if component.secrets else {},
        "generated_key": component.generated_key(plan.release) if component.generated_key else None,
        "environment": component.environment(plan) if component.environment else {},
        "plan": plan,
        "parts": [part for part in plan.parts() if part.component == component.name],
    }
    return {**context, "context": context}


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, ten times as fast, where PyYAML was built with it."""


def _render(environment: jinja2.Environment, name: str, context: dict[str, Any]) -> list[KubernetesObject]:
    try:
        text = environment.get_template(name).render(context)
        documents = [document for document in yaml.load_all(text, _LOADER) if document]
    except jinja2.TemplateError as error:
        raise LightragctlError(f"template {name}: {error.message}", "fix the template") from error
    except yaml.YAMLError as error:
        raise LightragctlError(f"template {name} does not render to YAML: {error}", "fix the template") from error
    for document in documents:
        try:
            ref(document)
        except ValueError as error:
            raise LightragctlError(f"template {name}: {error}", "fix the template") from error
    return documents


def _refuse_twins(objects: Sequence[KubernetesObject]) -> None:
    seen: set[ObjectRef] = set()
    for identity in map(ref, objects):
        if identity in seen:
            raise LightragctlError(f"{identity} is rendered twice", "rename one of them")
        seen.add(identity)


def write_objects(objects: Sequence[KubernetesObject], folder: Path) -> list[Path]:
    """Write each object to its own file, numbered in the order to apply them; returns the paths.

    Raises:
        RefusedError: the folder is not empty, so files of removed objects would remain.
        LightragctlError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RefusedError(f"{folder} is not empty", "use a new folder, or empty this one")
        paths = []
        for number, thing in enumerate(objects, 1):
            identity = ref(thing)
            path = folder / f"{number:02d}-{identity.kind.lower()}-{identity.name}.yaml"
            path.write_text(f"{yaml_text(dict(thing))}\n", encoding="utf-8")
            paths.append(path)
    except OSError as error:
        raise LightragctlError(f"cannot write to {folder}: {error}", "check the path and its permissions") from error
    return paths
