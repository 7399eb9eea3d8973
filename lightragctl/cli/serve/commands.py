"""serve: run one of our services in this process, in a pod or by hand."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="Settings as JSON. (default: what the profile says)"),
]


def api(session: Session, settings: SettingsFile = None) -> Result:
    """Run lightrag-api: POST /retrieve, /query, /documents.

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
    """Run model-gateway: OpenAI-compatible proxy in front of the models."""
    from lightragctl.core.settings import GatewaySettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.gateway import serve

    serve(service_settings(settings, GatewaySettings, lambda: session.release.plan, "model-gateway"), session.environ)
    return Result.quiet(session.command)


def embedder(session: Session, settings: SettingsFile = None) -> Result:
    """Run the embedder: a multilingual model behind /v1/embeddings."""
    from lightragctl.core.settings import EmbedderSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.embedder import serve

    serve(service_settings(settings, EmbedderSettings, lambda: session.release.plan, "embedder"), session.environ)
    return Result.quiet(session.command)


def mock_llm(session: Session, settings: SettingsFile = None) -> Result:
    """Run mock-llm: a stand-in for a chat model with settable latency and errors.

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
    """Run upstream LightRAG, once it is safe to start, and tell whether it answers queries."""
    from lightragctl.core.settings import LightragServerSettings
    from lightragctl.release.profiles import service_settings
    from lightragctl.service.lightrag_server import serve

    serve(
        service_settings(settings, LightragServerSettings, lambda: session.release.plan, "lightrag-server"),
        session.environ,
    )
    return Result.quiet(session.command)
