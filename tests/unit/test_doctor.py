"""Does the doctor find what a run would stumble over, once each, and touch nothing?"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agent.bootstrap import App
from agent.services.doctor import Finding, examine
from agent.workspace import Workspace
from tests.graph.world import NAME, PERSON, PROFILE, ROWS, World, make_world
from tools.contracts.training import ColumnSpec, ModelSignature

DATA: dict[str, Any] = PROFILE["data"]


def _examined(world: World, about: str = "") -> list[Finding]:
    """Findings about the only profile, those whose subject ends in `about`."""
    root = world.deps.root
    space = Workspace(
        root=root, tracking_uri="x", registry_uri="x", store="sqlite://", profiles_dir=root / "p", work_dir=root / "w"
    )
    return [f for f in examine(App(space, world.deps, world.runs), "prices") if f.about.endswith(about)]


def _faults(world: World) -> list[tuple[str, str, str, str]]:
    return [(f.result, f.about, f.statement, f.remedy) for f in _examined(world) if f.remedy]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "MLproject").write_text("name: prices\n", encoding="utf-8")
    return tmp_path


def _world(project: Path, **profile: Any) -> World:
    """A champion with a signature."""
    world = make_world(project, **profile)
    columns = tuple(ColumnSpec(name=name, type="double") for name in ("a", "b", "c"))
    world.registry.signatures[world.registry.get_version(NAME, "1").model_uri] = ModelSignature(inputs=columns)
    return world


def test_a_sound_profile_has_no_fault_and_nothing_is_touched(project: Path) -> None:
    world = _world(project, data=DATA | {"positive_label": 1})

    assert _faults(world) == []
    assert not world.touched
    assert _examined(world, ": columns")[0].result == "ok"


def test_columns_that_the_source_has_not_are_named_by_field(project: Path) -> None:
    world = _world(project)
    named = {"features": ["a", "bb"], "key": ["id"], "label_time": "known_at", "event_time": "att", "target": "yy"}
    world.profile |= {
        "data": DATA | named,
        "metrics": PROFILE["metrics"] | {"slices": ["region"]},
        "validation": {"skip_range": ["month"]},
    }

    found = [(f.result, f.statement) for f in _examined(world, ": columns")]

    assert found == [
        ("missing", f"{field}: no {name} in rows")
        for field, name in (
            ("data.event_time", "att"),
            ("data.target", "yy"),
            ("data.label_time", "known_at"),
            ("data.key", "id"),
            ("data.features", "bb"),
            ("metrics.slices", "region"),
            ("validation.skip_range", "month"),
        )
    ]


def test_a_missing_column_comes_with_the_nearest_or_with_all_there_are(project: Path) -> None:
    world = _world(project)
    world.profile["data"] = DATA | {"event_time": "att", "key": ["customer"]}

    assert [f.remedy for f in _examined(world, ": columns")] == ["did you mean at?", "it has at, a, b, c, y"]


def test_a_source_that_is_not_there_is_reported_once(project: Path) -> None:
    world = _world(project)
    world.profile["data"] = DATA | {"source": "row"}

    found = [(f.about, f.statement) for f in _examined(world) if "row" in f.statement]

    assert found == [("profile prices: data", "data source row does not exist")]
    assert [f.statement for f in _examined(world, ": champion")] == ["version 1"]
    assert [f.statement for f in _examined(world, ": signature")] == ["not compared: the source cannot be read"]


@pytest.mark.parametrize("label", [2, "yes"])
def test_a_positive_label_that_never_occurs_is_missing(project: Path, label: object) -> None:
    world = _world(project, data=DATA | {"positive_label": label})

    found = [(f.result, f.statement, f.remedy) for f in _examined(world, ": labels")]

    said = f"data.positive_label {label!r} occurs in none of 240 recent labelled rows"
    assert found == [("missing", said, "the labels there: 0 and 1")]


@pytest.mark.parametrize(("words", "label"), [({0: "no", 1: "yes"}, "yes"), ({0: False, 1: True}, True)])
def test_a_positive_label_that_occurs_is_found_in_text_and_flags_too(
    project: Path, words: dict[int, object], label: object
) -> None:
    world = _world(project)
    world.data.frames["rows"] = ROWS.assign(y=[words[y] for y in ROWS["y"]])
    world.profile["data"] = DATA | {"positive_label": label}

    assert _examined(world, ": labels") == []


def test_rows_older_than_the_window_call_for_as_of(project: Path) -> None:
    world = _world(project)
    world.pass_time(timedelta(days=365))

    assert _faults(world) == [
        (
            "unknown",
            "profile prices: data",
            "the newest row (2026-06-30) lies before data_window 60d, which begins on 2027-05-02: "
            "a run of today finds nothing",
            "bring the source up to date, or name a time, e.g. --as-of 2026-07-01",
        )
    ]


def test_a_fixed_window_behind_the_rows_is_not_mended_by_as_of(project: Path) -> None:
    world = _world(project, data_window="2026-07-05/2026-07-10")
    world.pass_time(timedelta(days=30))

    remedies = [f.remedy for f in _examined(world, ": data") if f.result == "unknown"]

    assert remedies == ["mend data_window, or bring the source up to date"]


def test_registered_models_are_counted_in_words(project: Path) -> None:
    world = _world(project)

    one = _examined(world, "registry")[0].statement
    world.registry.add("other")
    two = _examined(world, "registry")[0].statement

    assert (one, two) == ("answers; 1 registered model", "answers; 2 registered models")


def test_approvers_that_do_not_sit_here_are_told(project: Path) -> None:
    assert PERSON in _examined(_world(project), ": approvers")[0].statement


@pytest.mark.parametrize(
    ("risk", "review", "alone"),
    [
        ("high", {"approvers": ["ann"]}, ["ann alone may approve a review"]),
        ("high", {"approvers": ["ann", "bob"], "roles": {"roll_back": ["bob"]}}, ["bob alone may approve roll back"]),
        ("high", {"approvers": ["ann", "bob"]}, []),
        ("low", {"approvers": ["ann"]}, []),
    ],
)
def test_lone_approver_of_a_high_risk_model_is_told(
    project: Path, risk: str, review: dict[str, Any], alone: list[str]
) -> None:
    world = _world(project, rollout={"risk": risk}, review=review)
    told = [(f.statement, f.remedy) for f in _examined(world, ": approvers") if f.result == "missing"]

    assert [statement.partition(",")[0] for statement, _ in told] == alone
    assert all(remedy == "name a second approver" for _, remedy in told)


def test_own_metric_whose_file_is_not_there_and_a_table_without_its_columns_are_missing(project: Path) -> None:
    name = "metrics/value.py:profit"
    guardrail = {"name": name, "direction": "higher"}
    predictions = {"predictions": {"source": "told", "version": "served"}}
    world = _world(project, metrics=PROFILE["metrics"] | {"guardrails": [guardrail]}, scoring=predictions)
    world.data.frames["told"] = pd.DataFrame({"at": ROWS["at"], "prediction": ROWS["y"]})

    assert _faults(world) == [
        (
            "missing",
            f"profile prices: {name}",
            f"there is no file metrics/value.py in the workspace {project.resolve()}",
            "put the file there, or mend the metric's name",
        ),
        ("missing", "profile prices: predictions", "no served in told", "it has at, prediction"),
    ]
    assert not world.touched


def test_own_metric_and_predictions_that_are_there_are_ok_and_nothing_is_run(project: Path) -> None:
    name = "metrics/value.py:profit"
    (project / "metrics").mkdir()
    (project / "metrics" / "value.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    guardrail = {"name": name, "direction": "higher"}
    predictions = {"predictions": {"source": "told", "version": "served"}}
    world = _world(project, metrics=PROFILE["metrics"] | {"guardrails": [guardrail]}, scoring=predictions)
    world.data.frames["told"] = pd.DataFrame({"at": ROWS["at"], "prediction": ROWS["y"], "served": 1})

    assert _faults(world) == []
    assert [f.result for about in (name, ": predictions") for f in _examined(world, about)] == ["ok", "ok"]
