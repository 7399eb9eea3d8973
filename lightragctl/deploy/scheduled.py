"""What the pod of scheduled backups needs. Pure."""

from typing import Any

from lightragctl.components import lightrag_server
from lightragctl.core.backup import claim_mounts
from lightragctl.core.component import Plan
from lightragctl.core.settings import SecretKey
from lightragctl.core.stores import VARIABLES


def backup_pod(plan: Plan) -> dict[str, Any]:
    """The pod as `operations/_pod.j2` renders it: its volume claims by path, its neighbour, its resources."""
    claims = claim_mounts(plan.profile.backup.destination)
    has_server = lightrag_server.NAME in plan.components
    if has_server:
        claims[lightrag_server.FOLDER] = f"data-{plan.release}-{lightrag_server.NAME}-0"
    neighbour = lightrag_server.NAME if has_server else ""
    return {"claims": claims, "beside": neighbour, "cpu": "500m", "memory": "512Mi"}


def backup_secrets(plan: Plan) -> dict[str, SecretKey]:
    """The variables that the pod gets from Secrets: of the destination, and of lightrag-server's database."""
    server = plan.components.get(lightrag_server.NAME)
    given = server.secrets(plan) if server and server.secrets else {}
    return {**{name: key for name, key in given.items() if name in VARIABLES}, **plan.profile.backup.secrets}
