"""The checked profile: what is wrong is named with file, line and the nearest key; what is right keeps its origin."""

from pathlib import Path

import pytest

from lightragctl.core.errors import ExitStatus, ProfileError
from lightragctl.core.layers import merge, parse_layer, parse_set, read_layer, read_layers
from lightragctl.core.profile import LoadedProfile, check
from lightragctl.core.settings import StrictModel


class EngineValues(StrictModel):
    port: int = 19530
    topology: str = "lite"


SECTIONS = {"engine": EngineValues, "api": EngineValues}
BASE = "runtime: local\ncomponents:\n  engine: {}\n"


def load(*texts: str, sets: tuple[str, ...] = ()) -> LoadedProfile:
    layers = [parse_layer(text, f"{number}.yaml") for number, text in enumerate(texts, 1)]
    return check("mine", merge([*layers, *map(parse_set, sets)]), SECTIONS)


def refusal(*texts: str, sets: tuple[str, ...] = ()) -> str:
    with pytest.raises(ProfileError) as caught:
        load(*texts, sets=sets)
    assert caught.value.exit_status is ExitStatus.USAGE
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("runtme: local\n", "1.yaml:1: unknown key 'runtme'; did you mean 'runtime'?"),
        (
            BASE + "chunking:\n  size_token: 3\n",
            "1.yaml:5: unknown key 'chunking.size_token'; did you mean 'size_tokens'?",
        ),
        (
            BASE + "models:\n  chat:\n    nam: x\n",
            "1.yaml:6: unknown key 'models.chat.nam'; did you mean 'name'?",
        ),
        (
            "runtime: local\ncomponents:\n  engine:\n    prt: 3\n",
            "1.yaml:4: unknown key 'components.engine.prt'; did you mean 'port'?",
        ),
        (
            "runtime: local\ncomponents:\n  engin: {}\n",
            "1.yaml:3: unknown key 'components.engin'; did you mean 'engine'?",
        ),
        (
            "runtime: local\ncomponents:\n  zzzz: {}\n",
            "1.yaml:3: unknown key 'components.zzzz'; known keys: api, engine",
        ),
    ],
)
def test_an_unknown_key_names_file_line_and_the_nearest_key(text: str, says: str) -> None:
    assert says in refusal(text).splitlines()


def test_a_wrong_value_names_file_line_and_key() -> None:
    message = refusal(BASE + "chunking:\n  size_tokens: many\n")
    assert message.startswith("1.yaml:5: chunking.size_tokens: ")


def test_every_mistake_is_named_at_once() -> None:
    text = BASE + "  api: {}\nchunking: {size_tokens: many}\nindx: {}\n"
    message = refusal(text, sets=("components.engine.port=x",))
    assert len(message.splitlines()) == 3
    assert "--set: components.engine.port:" in message


def test_an_unknown_key_in_a_set_option_says_set() -> None:
    assert "--set: unknown key 'namespce'; did you mean 'namespace'?" in refusal(BASE, sets=("namespce=x",))


def test_a_missing_key_is_named() -> None:
    message = refusal("description: x\n")
    assert "runtime" in message
    assert "components" in message


@pytest.mark.parametrize("components", ["{}", "null", "[]", "5"])
def test_a_profile_without_components_is_refused(components: str) -> None:
    assert "components" in refusal(f"runtime: local\ncomponents: {components}\n")


def test_a_component_without_values_has_its_defaults() -> None:
    loaded = load("runtime: local\ncomponents:\n  engine:\n")
    assert loaded.profile.components["engine"].port == 19530


@pytest.mark.parametrize("secret", ["{}", "{env: A, file: /b}", "sk-123"])
def test_a_secret_names_exactly_one_source(secret: str) -> None:
    assert "models.chat.api_key" in refusal(BASE + f"models: {{chat: {{api_key: {secret}}}}}\n")


def test_a_values_file_overrides_the_profile_and_set_overrides_both(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(BASE + "namespace: one\nworkspace: one\ndescription: one\n", encoding="utf-8")
    (tmp_path / "over.yaml").write_text("namespace: two\nworkspace: two\n", encoding="utf-8")
    layers = read_layers(str(tmp_path / "base.yaml"), tmp_path / "shipped")
    layers += [read_layer(tmp_path / "over.yaml", tmp_path / "shipped"), parse_set("namespace=three")]
    loaded = check("base", merge(layers), SECTIONS)
    found = {".".join(path): (value, str(origin)) for path, value, origin in loaded.leaves()}
    assert found["namespace"] == ("three", "--set")
    assert found["workspace"] == ("two", f"{tmp_path / 'over.yaml'}:2")
    assert found["description"] == ("one", f"{tmp_path / 'base.yaml'}:6")
    assert found["chunking.size_tokens"] == (256, "default")


def test_leaves_are_sorted_by_path_and_each_stands_once() -> None:
    keys = [path for path, _, _ in load(BASE).leaves()]
    assert keys == sorted(set(keys))
    assert ("components", "engine", "topology") in keys
