"""serve: run one of the services in the foreground; what pods and local processes run."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="JSON file with the settings. (default: from the profile)"),
]


def api(session: Session, settings: SettingsFile = None) -> Result:
    """Run lightrag-api, the retrieval and document API.

    \b
    Examples:
      lightragctl serve api --set components.lightrag-api.port=9080
    """
    from lightragctl.core.settings import ApiSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.api import serve

    serve(service_settings(settings, ApiSettings, lambda: session.release.plan, "lightrag-api"), session.environ)
    return Result.quiet(session.command)


def gateway(session: Session, settings: SettingsFile = None) -> Result:
    """Run model-gateway, an OpenAI-compatible proxy in front of the models."""
    from lightragctl.core.settings import GatewaySettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.gateway import serve

    serve(service_settings(settings, GatewaySettings, lambda: session.release.plan, "model-gateway"), session.environ)
    return Result.quiet(session.command)


def embedder(session: Session, settings: SettingsFile = None) -> Result:
    """Run the embedder, a multilingual embedding model behind /v1/embeddings."""
    from lightragctl.core.settings import EmbedderSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.embedder import serve

    serve(service_settings(settings, EmbedderSettings, lambda: session.release.plan, "embedder"), session.environ)
    return Result.quiet(session.command)


def mock_llm(session: Session, settings: SettingsFile = None) -> Result:
    """Run mock-llm, a mock chat model with configurable latency and errors.

    \b
    Examples:
      lightragctl serve mock-llm --set components.mock-llm.latency_ms=200
    """
    from lightragctl.core.settings import MockLlmSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.mock_llm import serve

    serve(service_settings(settings, MockLlmSettings, lambda: session.release.plan, "mock-llm"), session.environ)
    return Result.quiet(session.command)


def lightrag_server(session: Session, settings: SettingsFile = None) -> Result:
    """Run upstream LightRAG's server; waits until it is safe to start and serves its readiness."""
    from lightragctl.core.settings import LightragServerSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.lightrag_server import serve

    serve(
        service_settings(settings, LightragServerSettings, lambda: session.release.plan, "lightrag-server"),
        session.environ,
    )
    return Result.quiet(session.command)
