"""Which components a profile runs."""

import pytest

from lightragctl.release.profiles import load_profile, make_plan

ELSEWHERE = "https://models.example/api"


@pytest.mark.parametrize("profile", ["local", "dev"])
@pytest.mark.parametrize(
    ("sets", "missing"),
    [
        ((), set()),
        (("embedding", ELSEWHERE), {"embedder"}),
        (("chat", ELSEWHERE), {"mock-llm"}),
    ],
)
def test_what_is_served_elsewhere_is_not_run(profile: str, sets: tuple[str, ...], missing: set[str]) -> None:
    assignments = [f"models.{sets[0]}.url={sets[1]}"] if sets else []
    plan = make_plan("rel", load_profile(profile, assignments=assignments))
    assert {"embedder", "mock-llm", "model-gateway"} - set(plan.components) == missing


@pytest.mark.parametrize(
    ("profile", "url", "runs"),
    [
        ("local", "http://127.0.0.1:8083", {"embedder", "mock-llm"}),
        ("local", "http://localhost:8083", {"embedder", "mock-llm"}),
        ("local", "http://127.0.0.1:9999", {"mock-llm"}),
        ("local", "http://127.0.0.1:8082", {"mock-llm"}),
        ("dev", "http://rel-embedder:8083", {"embedder", "mock-llm"}),
        ("dev", "http://rel-embedder.dev.svc:8083", {"embedder", "mock-llm"}),
        ("dev", "http://rel-embedder-2:8083", {"mock-llm"}),
    ],
)
def test_a_url_that_leads_to_our_own_component_keeps_it(profile: str, url: str, runs: set[str]) -> None:
    plan = make_plan("rel", load_profile(profile, assignments=[f"models.embedding.url={url}"]))
    assert {"embedder", "mock-llm"} & set(plan.components) == runs


def test_a_double_that_serves_the_other_model_is_run() -> None:
    sets = ["models.embedding.url=http://127.0.0.1:8082", f"models.chat.url={ELSEWHERE}"]
    assert "mock-llm" in make_plan("rel", load_profile("local", assignments=sets)).components
