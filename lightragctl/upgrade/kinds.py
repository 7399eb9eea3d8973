"""The kind of operation that upgrades a release."""

from lightragctl.upgrade.site import site_of
from lightragctl.upgrade.strategies.replicas import replicas_kind

UPGRADE = replicas_kind(site_of)
