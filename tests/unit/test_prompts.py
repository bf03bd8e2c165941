"""Does a prompt refuse what it has no place for, and is each shipped one whole?"""

import hashlib
from importlib.resources import files

import pytest

from prompts.loader import PromptError, load, parse

SMALL = "---\nname: small\nversion: 2\ninputs: [who, what]\n---\nTell {{who}} about {{ what }}, {{who}}.\n"


def test_every_value_is_put_in_its_place() -> None:
    assert parse(SMALL).render(who="Ann", what="drift") == "Tell Ann about drift, Ann.\n"


def test_a_value_that_looks_like_a_variable_stays_as_it_is() -> None:
    assert parse(SMALL).render(who="{{what}}", what=r"\1") == "Tell {{what}} about \\1, {{what}}.\n"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"who": "Ann"}, "missing what"),
        ({"who": "Ann", "what": "x", "when": "now"}, "unused when"),
        ({"when": "now"}, "missing who, what; unused when"),
    ],
)
def test_missing_and_unused_values_are_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        parse(SMALL).render(**values)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Tell {{who}}", "front matter"),
        (SMALL.replace("version: 2\n", ""), "front matter holds"),
        (SMALL.replace("[who, what]", "[who]"), "differ"),
        (SMALL.replace("[who, what]", "[who, what, when]"), "differ"),
        (SMALL.replace("[who, what]", "who"), "not a list"),
        (SMALL.replace("[who, what]", "[who"), "not YAML"),
    ],
)
def test_a_prompt_at_fault_is_refused_when_it_is_read(content: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        parse(content)


@pytest.mark.parametrize("name", ["../secret", "no_such_prompt", "Rationale", ""])
def test_only_shipped_prompts_can_be_loaded(name: str) -> None:
    with pytest.raises(PromptError):
        load(name)


@pytest.mark.parametrize(
    "name", sorted(file.name[:-3] for file in files("prompts").iterdir() if file.name.endswith(".md"))
)
def test_every_shipped_prompt_loads_renders_and_carries_its_files_hash(name: str) -> None:
    prompt = load(name)

    content = (files("prompts") / f"{name}.md").read_bytes()
    assert prompt.hash == hashlib.sha256(content).hexdigest()
    assert "{{" not in prompt.render(**dict.fromkeys(prompt.inputs, "x"))
