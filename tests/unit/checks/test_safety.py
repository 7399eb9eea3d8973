"""Secrets that a profile holds in plain text: found by the names of variables, by options, by the shape of keys."""

import pytest

from lightragctl.checks.lint import lint, rendered_plan
from lightragctl.checks.rules.safety import holds_secret, secret_options
from lightragctl.core import assets
from lightragctl.core.component import Plan
from lightragctl.deploy.render import render_plan
from lightragctl.release.profiles import load_profile, make_plan

SERVER = "components.lightrag-server.environment"


def plan(*sets: str) -> Plan:
    return make_plan("rel", load_profile("dev", (), sets))


def found(planned: Plan) -> list[tuple[str, str]]:
    judged = lint(rendered_plan(planned, render_plan(planned, assets.root() / "templates")))
    return [(one.code, one.subject) for one in judged]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEO4J_PASSWORD", "hunter2"), ("POSTGRES_PASSWORD", "x"), ("RERANK_BINDING_API_KEY", "k"), ("MY_KEY_2", "k"),
        ("AUTH_ACCOUNTS", "admin:x"), ("TOKEN_SECRET", "s"), ("HF_TOKEN", "t"), ("AWS_SECRET_ACCESS_KEY", "a"),
        ("apikey", "k"), ("REDIS_PWD", "p"), ("api-key", "k"), ("GOOGLE_CREDENTIALS", "{}"),
    ],
)  # fmt: skip
def test_a_variable_that_holds_a_secret_is_known_by_its_name(name: str, value: str) -> None:
    assert holds_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUMMARY_LANGUAGE", "Chinese"), ("MAX_TOKENS", "500"), ("MAX_TOKEN_SUMMARY", "500"), ("TOKENIZER", "gpt"),
        ("KEYWORDS", "a"), ("SSL_KEY_FILE", "/run/key"), ("TOKEN_EXPIRE_HOURS", "48"), ("JWT_ALGORITHM", "HS256"),
        ("NEO4J_PASSWORD", ""), ("MONKEY", "x"), ("max-token", "512"),
    ],
)  # fmt: skip
def test_what_is_only_about_secrets_is_none(name: str, value: str) -> None:
    assert not holds_secret(name, value)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--api-key", "abc"], ["--api-key"]),
        (["--api-key=abc", "--max-model-len=8192"], ["--api-key"]),
        (["--hf-token", "x", "-v"], ["--hf-token"]),
        (["--api-key", "--port", "80"], []),
        (["--max-num-batched-tokens=2048", "--tokenizer", "t", "--api-key"], []),
    ],
)
def test_options_whose_values_are_secrets_are_found(arguments: list[str], options: list[str]) -> None:
    assert list(secret_options(arguments)) == options


@pytest.mark.parametrize(
    "setting",
    [
        f"{SERVER}={{NEO4J_PASSWORD: hunter2}}",
        f"{SERVER}={{REDIS_URI: 'redis://:hunter2@redis:6379'}}",
        f"{SERVER}={{SOMETHING: jina_0123456789abcdef0123}}",
        "description=hf_abcdefghijklmnopqrstu",
    ],
)
def test_a_secret_in_plain_text_is_refused_wherever_it_stands(setting: str) -> None:
    assert [code for code, _ in found(plan(setting))] == ["plaintext-secret"]


def test_a_secret_of_upstreams_environment_reaches_its_pod_by_reference_alone() -> None:
    planned = plan(f"{SERVER}={{NEO4J_PASSWORD: {{secret: {{name: neo4j, key: password}}}}, LOG_LEVEL: DEBUG}}")
    assert found(planned) == []
    objects = {(one["kind"], one["metadata"]["name"]): one for one in render_plan(planned, assets.root() / "templates")}
    pod = objects["StatefulSet", "rel-lightrag-server"]["spec"]["template"]["spec"]
    variables = {one["name"]: one for one in pod["containers"][0]["env"]}
    assert variables["NEO4J_PASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "neo4j", "key": "password"}}
    settings = planned.components["lightrag-server"].settings
    assert settings
    told = settings(planned).model_dump(mode="json", exclude_none=True)["environment"]
    assert told == {"NEO4J_PASSWORD": {"env": "NEO4J_PASSWORD"}, "LOG_LEVEL": "DEBUG"}


def test_a_secret_that_a_pod_cannot_reach_is_refused_at_any_depth() -> None:
    assert found(plan(f"{SERVER}={{NEO4J_PASSWORD: {{env: MINE}}}}")) == [("secret-source", f"{SERVER}.NEO4J_PASSWORD")]
