"""What a profile sets about backups: where they go, who can read them, which are kept. Pure."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from lightragctl.core.settings import Address, SecretKey, SecretRef, StrictModel

_Kept = Annotated[int, Field(ge=0, le=10_000)]


CLAIMS_ROOT = "/var/lib/lightragctl/claims"
"""Where a pod has the volume claims of `pvc://CLAIM/PATH`, each in a folder of its name."""
VARIABLES = {
    "access_key": "LIGHTRAGCTL_BACKUP_ACCESS_KEY",
    "secret_key": "LIGHTRAGCTL_BACKUP_SECRET_KEY",
    "identity": "LIGHTRAGCTL_BACKUP_IDENTITY",
}
"""The environment variable by which a pod has each of the secrets that are keys of Kubernetes Secrets."""
_CRON = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[-*/,0-9A-Za-z?]+( +[-*/,0-9A-Za-z?]+){4}")


class Retention(StrictModel):
    """Which backups `backup prune` keeps: the newest `last`, and the newest of each of n days, weeks and months."""

    last: _Kept = 7
    daily: _Kept = 7
    weekly: _Kept = 4
    monthly: _Kept = 12

    @model_validator(mode="after")
    def _keeps_some(self) -> "Retention":
        if not any((self.last, self.daily, self.weekly, self.monthly)):
            raise ValueError("retention keeps at least one backup: one of last, daily, weekly, monthly is above 0")
        return self


class Backup(StrictModel):
    """Backups of the release.

    `destination`: `file:///PATH`, `s3://BUCKET/PREFIX` or `pvc://CLAIM/PATH`. `endpoint`, `region`, `path_style`,
    `access_key`, `secret_key`: of an S3 service; without them the environment has the word (AWS_ENDPOINT_URL,
    AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY). `recipients`: public keys of age or SSH; when there are any,
    backups are encrypted. `identity`: a private key, needed to read encrypted backups, and for incremental ones.
    `full_every`: every n-th backup is a full one. `schedule`: when a CronJob of the release makes a backup, in UTC, as
    `0 3 * * *`. Secrets for it, and for the Job of `backup create`, are keys of Kubernetes Secrets.
    """

    destination: str | None = None
    endpoint: Address | None = None
    region: str | None = None
    path_style: bool = True
    access_key: SecretRef | None = None
    secret_key: SecretRef | None = None
    recipients: tuple[str, ...] = ()
    identity: SecretRef | None = None
    full_every: Annotated[int, Field(ge=1, le=100)] = 7
    retention: Retention = Retention()
    schedule: str | None = None

    @field_validator("destination")
    @classmethod
    def _is_url(cls, destination: str | None) -> str | None:
        if destination is not None and "://" not in destination and not destination.startswith("<"):
            raise ValueError(f"destination is a URL such as file:///backups or s3://bucket/path, not '{destination}'")
        return destination

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str | None) -> str | None:
        return check_cron(schedule)

    @property
    def secrets(self) -> dict[str, SecretKey]:
        """The environment variables that a pod gets from Kubernetes Secrets."""
        found = {name: getattr(self, name) for name in VARIABLES}
        return {VARIABLES[name]: one.secret for name, one in found.items() if one and one.secret}

    @property
    def not_in_pods(self) -> list[str]:
        """The keys of secrets that only the process of a command can read."""
        return [name for name in VARIABLES if (one := getattr(self, name)) and not one.secret]

    @model_validator(mode="after")
    def _whole_credentials(self) -> "Backup":
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together")
        return self

    @model_validator(mode="after")
    def _pods_can_run(self) -> "Backup":
        if self.schedule is None:
            return self
        if self.destination is None or self.destination.startswith("file:"):
            raise ValueError("schedule needs a destination that a pod reaches, such as s3://bucket/path or pvc://claim")
        if self.not_in_pods:
            names = ", ".join(self.not_in_pods)
            raise ValueError(f"schedule needs {names} as a key of a Kubernetes Secret: {{secret: {{name, key}}}}")
        return self


def check_cron(schedule: str | None) -> str | None:
    """The schedule of a CronJob; None where there is none.

    Raises:
        ValueError: it is not one.
    """
    if schedule is not None and not _CRON.fullmatch(schedule):
        raise ValueError(f"schedule has five fields as in cron, such as '0 3 * * *', not '{schedule}'")
    return schedule


def claim_of(url: str | None) -> str | None:
    """The volume claim of a destination `pvc://CLAIM/PATH`; None for another one."""
    parts = urlsplit(url or "")
    return parts.netloc if parts.scheme == "pvc" and parts.netloc else None


def claim_mounts(url: str | None) -> dict[str, str]:
    """The volume claim that a pod mounts for a destination, by the path."""
    claim = claim_of(url)
    return {f"{CLAIMS_ROOT}/{claim}": claim} if claim else {}
