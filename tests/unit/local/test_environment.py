"""What `up` hands to the processes: secrets as they are now, the way out for those that need it, nothing else."""

from pathlib import Path

import pytest

from lightragctl.core.component import Plan
from lightragctl.core.errors import RefusedError
from lightragctl.local.environment import (
    collect_environments,
    fingerprint,
    process_environment,
    require_secrets,
    secret_files,
    secret_variables,
)
from lightragctl.local.files import Environments
from lightragctl.local.runtime import LocalRuntime, ReleaseFiles
from lightragctl.release.profiles import load_profile, make_plan

EMPTY = Environments(salt="s")


@pytest.fixture
def plan() -> Plan:
    keys = ["models.chat.url=https://models.example/", "models.chat.api_key={env: MODEL_API_KEY}"]
    return make_plan("rel", load_profile("local", (), keys))


def settings(plan: Plan) -> dict[str, object]:
    return {name: part.settings(plan) for name, part in plan.components.items() if part.settings and part.process}


def test_the_variables_and_files_of_secrets_are_found_at_any_depth(plan: Plan) -> None:
    assert secret_variables(settings(plan)) == ["MODEL_API_KEY"]
    mounted = load_profile("local", (), ["models.chat.url=https://m/", "models.chat.api_key={file: /run/key}"])
    assert secret_files(settings(make_plan("rel", mounted))) == ["/run/key"]


def test_a_secret_is_the_one_of_this_up_and_of_the_last_one_where_it_is_not_set_now(plan: Plan) -> None:
    first = collect_environments(plan, settings(plan), {"MODEL_API_KEY": "old"}, EMPTY)
    assert first.processes["model-gateway"] == {"MODEL_API_KEY": "old"}
    assert first.processes["embedder"] == {}
    assert collect_environments(plan, settings(plan), {}, first) == first
    rotated = collect_environments(plan, settings(plan), {"MODEL_API_KEY": "new"}, first)
    assert rotated.processes["model-gateway"] == {"MODEL_API_KEY": "new"}


def test_a_rotated_secret_changes_the_fingerprint_which_does_not_hold_it() -> None:
    old, new = fingerprint({"KEY": "a-secret"}, "salt"), fingerprint({"KEY": "another"}, "salt")
    assert old != new
    assert fingerprint({"KEY": "a-secret"}, "other salt") != old
    assert "a-secret" not in old


@pytest.mark.parametrize(("environ", "state"), [({}, "is not set"), ({"MODEL_API_KEY": " "}, "is empty")])
def test_a_missing_secret_is_refused_by_its_name(plan: Plan, environ: dict[str, str], state: str) -> None:
    with pytest.raises(RefusedError, match=f"model-gateway.*MODEL_API_KEY, which {state}") as caught:
        require_secrets(settings(plan), collect_environments(plan, settings(plan), environ, EMPTY))
    assert "export MODEL_API_KEY=" in caught.value.hint


def test_only_components_that_call_others_get_the_proxy(plan: Plan) -> None:
    environ = {"https_proxy": "http://proxy:3128", "MODEL_API_KEY": "k", "TERM": "xterm"}
    environments = collect_environments(plan, settings(plan), environ, EMPTY)
    assert environments.processes["model-gateway"] == {"https_proxy": "http://proxy:3128", "MODEL_API_KEY": "k"}
    assert environments.processes["lightrag-api"] == {"https_proxy": "http://proxy:3128"}
    assert environments.processes["embedder"] == {}
    assert process_environment({"https_proxy": "http://old:1", "PATH": "/bin"}, {}) == {"PATH": "/bin"}


def test_diff_tells_a_rotated_key_and_not_a_shell_without_it(plan: Plan, tmp_path: Path) -> None:
    def digest(environ: dict[str, str]) -> dict[str, str]:
        runtime = LocalRuntime("rel", files, environ)
        wanted = runtime.desired_processes(plan, runtime.collect_environments(plan))
        return {process.name: process.digest for process in wanted.processes}

    files = ReleaseFiles(tmp_path / "rel")
    files.prepare()
    runtime = LocalRuntime("rel", files, {"MODEL_API_KEY": "old"})
    files.write_environments(runtime.collect_environments(plan))
    assert digest({}) == digest({"MODEL_API_KEY": "old"})
    changed = digest({"MODEL_API_KEY": "new"})
    assert {name for name, one in digest({}).items() if changed[name] != one} == {"model-gateway"}
