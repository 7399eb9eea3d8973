"""What a profile sets about backups: where they go, who can read them, which are kept. Pure."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from lightragctl.core.settings import Address, SecretRef, StrictModel

_Kept = Annotated[int, Field(ge=0, le=10_000)]


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
    `full_every`: every n-th backup is a full one.
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

    @field_validator("destination")
    @classmethod
    def _is_url(cls, destination: str | None) -> str | None:
        if destination is not None and "://" not in destination and not destination.startswith("<"):
            raise ValueError(f"destination is a URL such as file:///backups or s3://bucket/path, not '{destination}'")
        return destination

    @model_validator(mode="after")
    def _whole_credentials(self) -> "Backup":
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together")
        return self
