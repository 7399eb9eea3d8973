"""Scheduled backups: the CronJob mounts and may do what a backup needs, and a profile that cannot work is refused."""

from typing import Any

import pytest

from lightragctl.backup.backup_kind import BACKUP
from lightragctl.checks.lint import RenderedObjects, lint
from lightragctl.core import assets
from lightragctl.core.errors import ProfileError
from lightragctl.deploy.render import render_plan
from tests.fakes.release import NAMESPACE, plan

S3 = (
    "backup.destination=s3://bucket/path",
    "backup.access_key.secret={name: s3, key: access}",
    "backup.secret_key.secret={name: s3, key: secret}",
)
DAILY = "backup.schedule=0 3 * * *"


def scheduled(*assignments: str) -> dict[str, Any]:
    """The objects of the schedule, by kind."""
    objects = render_plan(plan(DAILY, *assignments), assets.root() / "templates")
    return {one["kind"]: one for one in objects if one["metadata"]["name"].startswith("dev-backup")}


def pod(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def test_without_a_schedule_there_is_none() -> None:
    objects = render_plan(plan(*S3), assets.root() / "templates")
    assert not [one for one in objects if one["kind"] == "CronJob"]


def test_it_mounts_the_volumes_and_gets_the_secrets() -> None:
    found = pod(scheduled("backup.destination=pvc://saves/lightrag", *S3[1:]))
    container = found["containers"][0]
    claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in found["volumes"][1:]}
    mounts = {one["mountPath"]: claims.get(one["name"]) for one in container["volumeMounts"]}
    assert mounts["/var/lib/lightrag"] == "data-dev-lightrag-server-0"
    assert mounts["/var/lib/lightragctl/claims/saves"] == "saves"
    references = [one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one]
    assert references == [{"name": "s3", "key": "access"}, {"name": "s3", "key": "secret"}]
    assert container["args"] == ["backup", "create", "--in-cluster", "--name", "dev", "-n", NAMESPACE]


def test_it_gets_the_password_of_the_database_of_lightrag_server() -> None:
    of_server = "components.lightrag-server.environment"
    chosen = f"{of_server}.LIGHTRAG_KV_STORAGE=PGKVStorage"
    password = f"{of_server}.POSTGRES_PASSWORD={{secret: {{name: rag, key: password}}}}"
    other = f"{of_server}.OTHER_KEY={{secret: {{name: other, key: key}}}}"
    container = pod(scheduled(*S3, chosen, password, other))["containers"][0]
    found = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one}
    assert found["POSTGRES_PASSWORD"] == {"name": "rag", "key": "password"}
    assert len(found) == 3


def test_its_account_may_do_what_a_backup_does() -> None:
    rules = scheduled(*S3)["Role"]["rules"]
    allowed = {
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
    for right in BACKUP.rights:
        names = [name.format(release="dev") for name in right.names] or [""]
        wanted = {(right.group, one, verb, name) for one in right.resources for verb in right.verbs for name in names}
        assert right.when or wanted <= allowed, right


def test_its_pods_keep_the_restricted_pod_security_standard() -> None:
    codes = {one.code for one in lint(RenderedObjects(list(scheduled(*S3).values()), NAMESPACE))}
    assert not codes & {"not-restricted", "no-memory-limit"}


@pytest.mark.parametrize(
    ("assignments", "problem"),
    [
        ((), "schedule needs a destination"),
        (("backup.destination=file:///saves",), "schedule needs a destination"),
        ((*S3[:1], "backup.access_key.env=A", "backup.secret_key.env=B"), "access_key, secret_key as a key of"),
        ((*S3, "backup.schedule=every day"), "five fields"),
    ],
)
def test_a_schedule_that_no_pod_can_keep_is_refused(assignments: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ProfileError, match=problem):
        plan(DAILY, *assignments)
