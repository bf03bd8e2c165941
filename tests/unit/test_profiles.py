"""Are profiles merged, checked and explained, line by line?"""

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from agent.profile_drafts import draft_profile, profile_id, render_profile, write_profile
from agent.profiles import ProfileMatch, find_profile, list_profiles, load_profile, resolved
from agent.workspace import Workspace
from tools.contracts.profile import ExternalTraining, Profile, ProfileGuardrail
from tools.contracts.training import ColumnSpec, ModelSignature
from tools.errors import BadInput, Conflict, NotFound

MINIMAL = """\
registered_model: main.fraud.detector
task: classification
data:
  source: rows.parquet
  event_time: at
  target: label
  features: [a, b]
metrics:
  primary: {name: accuracy}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "profiles").mkdir()
    return Workspace(
        root=tmp_path,
        tracking_uri="x",
        registry_uri="x",
        store="sqlite://",
        profiles_dir=tmp_path / "profiles",
        work_dir=tmp_path / ".retraining",
    )


def _put(workspace: Workspace, name: str, text: str) -> Path:
    path = workspace.profiles_dir / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _faults(workspace: Workspace, name: str, text: str) -> str:
    _put(workspace, name, text)
    with pytest.raises(BadInput) as raised:
        load_profile(workspace, name)
    return str(raised.value)


def test_a_minimal_profile_loads_and_observes(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL)

    profile = load_profile(workspace, "fraud").profile

    assert (profile.id, profile.mode, profile.data.features) == ("fraud", "observe", ("a", "b"))


def test_a_profile_is_found_by_its_registered_model_too(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL)

    assert load_profile(workspace, "main.fraud.detector").profile.id == "fraud"


def test_two_profiles_of_one_registered_model_are_ambiguous_by_it_but_not_by_id(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL)
    _put(workspace, "fraud-eu", MINIMAL)

    with pytest.raises(BadInput, match="registered model of 2 profiles: fraud, fraud-eu"):
        load_profile(workspace, "main.fraud.detector")
    assert load_profile(workspace, "fraud-eu").profile.id == "fraud-eu"


@pytest.mark.parametrize(
    ("asked", "remedy"), [("frod", "did you mean 'fraud'?"), ("zzz", "known: fraud"), ("../fraud", "fraud")]
)
def test_an_unknown_model_is_not_found_and_the_nearest_named(workspace: Workspace, asked: str, remedy: str) -> None:
    _put(workspace, "fraud", MINIMAL)

    with pytest.raises(NotFound) as raised:
        load_profile(workspace, asked)

    assert remedy in str(raised.value.remedy)


def test_defaults_lie_under_a_profile_and_every_value_knows_its_line(workspace: Workspace) -> None:
    defaults = _put(
        workspace,
        "defaults",
        "mode: recommend\nvalidation:\n  min_rows: 100\n  max_duplicates: 0.5\ntriggers:\n  drift: {}\n",
    )
    own = _put(workspace, "fraud", MINIMAL + "validation:\n  min_rows: 200\ntriggers:\n  drift: null\n")

    loaded = load_profile(workspace, "fraud")

    table = {field: (value, where) for field, value, where in resolved(loaded)}
    assert table["mode"] == ("recommend", f"{defaults}:1")
    assert table["validation.min_rows"] == (200, f"{own}:11")
    assert table["validation.max_duplicates"] == (0.5, f"{defaults}:4")
    assert table["validation.max_null_increase"] == (0.1, "default")
    assert table["data.features"] == (["a", "b"], f"{own}:7")
    assert table["metrics.primary.name"] == ("accuracy", f"{own}:9")
    assert table["triggers.drift"] == (None, f"{own}:13")
    assert table["review.expires_after"] == ("P7D", "default")


def test_a_part_of_another_kind_replaces_the_default_whole(workspace: Workspace) -> None:
    _put(workspace, "defaults", "training: {kind: project, uri: train, memory_limit_mb: 512}\n")
    _put(workspace, "fraud", MINIMAL + "training: {kind: external, command: [train.sh], poll_every: 30s}\n")

    training = load_profile(workspace, "fraud").profile.training

    assert training == ExternalTraining(command=("train.sh",), poll_every=timedelta(seconds=30))


def test_a_part_of_the_same_kind_is_merged(workspace: Workspace) -> None:
    _put(workspace, "defaults", "training: {kind: project, uri: train, memory_limit_mb: 512}\n")
    _put(workspace, "fraud", MINIMAL + "training: {uri: mine}\n")

    training = load_profile(workspace, "fraud").profile.training

    assert training is not None
    assert training.model_dump(include={"uri", "memory_limit_mb"}) == {"uri": "mine", "memory_limit_mb": 512}


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("14d", timedelta(days=14)),
        ("P14D", timedelta(days=14)),
        ("PT30M", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("30m", timedelta(minutes=30)),
    ],
)
def test_durations_are_read_in_both_forms(workspace: Workspace, written: str, means: timedelta) -> None:
    _put(workspace, "fraud", MINIMAL + f"triggers: {{recent: {written}}}\n")

    assert load_profile(workspace, "fraud").profile.triggers.recent == means


def test_a_bare_number_is_no_duration(workspace: Workspace) -> None:
    text = _faults(workspace, "fraud", MINIMAL + "triggers:\n  recent: 14\n")

    assert "fraud.yaml:11: triggers.recent = 14" in text


def test_yaml_traps_mean_what_people_wrote(workspace: Workspace) -> None:
    text = MINIMAL.replace("registered_model: main.fraud.detector", "registered_model: 007").replace(
        "target: label", "target: label\n  positive_label: no"
    )
    _put(workspace, "fraud", text.replace("{name: accuracy}", "{name: accuracy, min_improvement: 1e-3}"))

    profile = load_profile(workspace, "fraud").profile

    assert profile.registered_model == "007"
    assert profile.data.positive_label == "no"
    assert profile.metrics.primary.min_improvement == 0.001


def test_a_champion_version_may_be_written_as_a_number(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL + "champion: {by: version, value: 3}\n")

    assert load_profile(workspace, "fraud").profile.champion.value == "3"


def test_every_fault_is_reported_at_once_with_file_line_field_value_and_remedy(workspace: Workspace) -> None:
    text = MINIMAL.replace("  target: label\n", "").replace(
        "{name: accuracy}", "{name: accuracy, min_improvement: -0.1}"
    )
    path = workspace.profiles_dir / "fraud.yaml"

    said = _faults(workspace, "fraud", text + "mode: acting\nvalidaton: {min_rows: 5}\nmetrics.x: 1\n")

    assert said.splitlines()[0] == "profile 'fraud' has 5 problems:"
    assert set(said.splitlines()[1:6]) == {
        f"  {path}:10: validaton = {{'min_rows': 5}}: is no field of a profile (did you mean validation?)",
        f"  {path}:11: metrics.x = 1: is no field of a profile (did you mean metrics?)",
        f"  {path}:3: data.target: is missing (add it: Label column.)",
        f"  {path}:8: metrics.primary.min_improvement = -0.1: must be at least 0 (give a value within the bound)",
        f"  {path}:9: mode = 'acting': is not a known value (use one of 'observe', 'recommend' or 'act')",
    }


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("training: {uri: x}\n", ":10: training: says not which kind it is\n  remedy: add `kind`"),
        ("training: {kind: spark, uri: x}\n", "training: is of an unknown kind"),
        (
            "training: {kind: project, ury: x}\n",
            "training.ury = 'x': is no field of a profile (did you mean training.uri?)",
        ),
        ("training:\n  kind: external\n", "takes exactly one of command and url"),
        ("validation:\n  min_rows: true\n", ":11: validation.min_rows = True: must be a number"),
        ("validation:\n  max_duplicates: .nan\n", "validation.max_duplicates = nan"),
        ("rollout: {canary_weights: [50, 10]}\n", "canary_weights must ascend"),
        (
            "rollout: {step_pause: 12h, max_duration: 10h}\n",
            "take 1 day, 0:00:00, longer than its max_duration 10:00:00",
        ),
        (
            "rollout:\n  steps:\n  - {kind: set_weight, weight: 50}\n  - {kind: set_weight, weight: 100}\n",
            ":11: rollout.steps",
        ),
        ("rollout: {steps: [{kind: set_weight, weight: 101}]}\n", "rollout.steps[0].weight = 101: must be at most 100"),
        (
            "rollout:\n  steps:\n  - {kind: set_weight, weight: 0}\n  - {kind: analysis, require: safe}\n"
            "  - {kind: set_weight, weight: 100}\n  - {kind: analysis}\n",
            "a weight or mirror of 0 shows the candidate to nobody",
        ),
        ("rollout: {steps: [{kind: set_header}]}\n", "rollout.steps[0]: is of an unknown kind"),
        ("rollout: {steps: [{kind: set_weight, wait: 1}]}\n", "rollout.steps[0].wait"),
        ("rollout: {metrics: [{name: f1, margin: 0.1}]}\n", "rollout.metrics[0].name = 'f1': is not a known value"),
        (
            "rollout: {metrics: [{name: latency_ms, margin: 20}]}\n",
            "rollout.metrics[0].margin = 20: must be less than 1",
        ),
        (
            "rollout: {steps: [{kind: set_weight, weight: 5}, {kind: pause}, {kind: analysis, require: safe}, "
            "{kind: set_weight, weight: 100}, {kind: analysis}]}\n",
            "name one in review.approvers",
        ),
        ("scoring: {time_limit: 0d}\n", "scoring.time_limit"),
        ("target: {kind: batch, output: out/, shadow: out}\n", "shadow must not be output"),
        ("review: {approvers: ann}\n", "review.approvers = 'ann': must be a list"),
        ("data_window:\n", ":10: data_window"),
        ("mode: act\nmode: observe\n", "mode: stands twice, first on line 10"),
        ("id: other\n", "id = 'other': differs from the file's name 'fraud'"),
    ],
)
def test_a_fault_names_its_line_and_what_is_wanted(workspace: Workspace, extra: str, says: str) -> None:
    assert says in _faults(workspace, "fraud", MINIMAL + extra)


def test_a_misspelt_guardrail_field_is_no_silent_default(workspace: Workspace) -> None:
    text = MINIMAL + "  guardrails:\n    - recall\n    - name: precision\n      margn: 0.1\n"

    said = _faults(workspace, "fraud", text)

    assert "fraud.yaml:13: metrics.guardrails[1].margn = 0.1" in said
    assert "did you mean metrics.guardrails[1].margin?" in said


def test_a_fault_in_the_defaults_is_placed_there(workspace: Workspace) -> None:
    path = _put(workspace, "defaults", "# for all\nmode: acting\n")

    assert _faults(workspace, "fraud", MINIMAL).splitlines() == [
        f"profile 'fraud': {path}:2: mode = 'acting': is not a known value",
        "  remedy: use one of 'observe', 'recommend' or 'act'",
    ]


def test_files_to_be_mended_are_those_with_the_faults(workspace: Workspace) -> None:
    _put(workspace, "defaults", "mode: acting\nrollout: {risk: some}\n")

    assert _faults(workspace, "fraud", MINIMAL).endswith("remedy: mend defaults.yaml where named, then try again")
    assert "mend fraud.yaml and defaults.yaml where" in _faults(workspace, "fraud", MINIMAL + "moode: act\n")


@pytest.mark.parametrize(
    ("change", "says", "remedy"),
    [
        (("", "data_window: ninety\n"), "fraud.yaml:10: data_window = 'ninety': cannot be used", "write 90d"),
        (("", "data_window: 90\n"), "fraud.yaml:10: data_window = '90': cannot be used", "write 90d"),
        (
            ("", "data_window: 2013-06-01/2013-01-01\n"),
            "data_window = '2013-06-01/2013-01-01': cannot be used",
            "the start must lie before the end",
        ),
        (
            ("", "validation_strategy: newest\n"),
            "fraud.yaml:10: validation_strategy = 'newest': cannot be used",
            "write latest:20%",
        ),
        (
            ("name: accuracy", "name: rmse"),
            "fraud.yaml:9: metrics.primary.name = 'rmse': is for regression, the model is for classification",
            "use one of: accuracy",
        ),
        (
            ("", "  guardrails: [recall, sharpe]\n"),
            "fraud.yaml:10: metrics.guardrails[1].name = 'sharpe': is no metric",
            "use one of: accuracy",
        ),
        (
            ("name: accuracy", "name: accuracy, direction: lower"),
            "metrics.primary.direction = 'lower': is better when higher, not when lower",
            "write direction: higher",
        ),
        (
            ("", "  guardrails: [f1, {name: f1_score}]\n"),
            "metrics.guardrails[1].name = 'f1_score': is a guardrail already",
            "name it once",
        ),
    ],
)
def test_what_is_text_and_means_nothing_is_refused_with_its_line(
    workspace: Workspace, change: tuple[str, str], says: str, remedy: str
) -> None:
    old, new = change

    said = _faults(workspace, "fraud", MINIMAL.replace(old, new) if old else MINIMAL + new)

    message, *rest = said.splitlines()
    assert says in message
    assert rest[0].startswith(f"  remedy: {remedy}")


def test_meaningless_text_is_reported_beside_the_other_faults(workspace: Workspace) -> None:
    said = _faults(workspace, "fraud", MINIMAL + "data_window: ninety\nmode: acting\n")

    assert said.startswith("profile 'fraud' has 2 problems:")
    assert "data_window = 'ninety'" in said
    assert "mode = 'acting'" in said


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("validation_strategy", "fixed:holdout.parquet"),
        ("validation_strategy", "rolling:3x14d"),
        ("data_window", "2013-01-01/2999-01-01"),
        ("data_window", "P3M"),
    ],
)
def test_windows_and_strategies_are_only_read_on_loading(workspace: Workspace, field: str, text: str) -> None:
    _put(workspace, "fraud", MINIMAL + f"{field}: {text}\n")

    assert getattr(load_profile(workspace, "fraud").profile, field) == text


def test_a_guardrail_may_be_its_name_alone(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL + "  guardrails: [recall, {name: f1, margin: 0.02}]\n")

    guardrails = load_profile(workspace, "fraud").profile.metrics.guardrails

    assert guardrails == (ProfileGuardrail(name="recall"), ProfileGuardrail(name="f1", margin=0.02))


def test_profiles_are_listed_with_the_broken_ones_marked(workspace: Workspace) -> None:
    _put(workspace, "defaults", "mode: act\n")
    _put(workspace, "fraud", MINIMAL)
    _put(workspace, "broken", "a: [\n")

    found = [(entry.id, entry.registered_model, entry.fault is None) for entry in list_profiles(workspace)]

    assert found == [("broken", None, False), ("fraud", "main.fraud.detector", True)]


def test_a_checked_list_says_what_is_wrong_with_each(workspace: Workspace) -> None:
    _put(workspace, "drafted", MINIMAL.replace("label", "FILL_IN").replace("at\n", "FILL_IN\n"))
    _put(workspace, "fraud", MINIMAL)
    _put(workspace, "short", MINIMAL.replace("  target: label\n", ""))

    found = {entry.id: entry.fault for entry in list_profiles(workspace, check=True)}

    assert found == {
        "drafted": "2 problems: data.event_time is still to be filled in …",
        "fraud": None,
        "short": "1 problem: data.target is missing",
    }


def test_a_match_tells_whether_id_or_registered_model_bears_the_name(workspace: Workspace) -> None:
    path = _put(workspace, "fraud", MINIMAL)

    assert find_profile(workspace, "fraud") == ProfileMatch("fraud", path, "id")
    assert find_profile(workspace, "main.fraud.detector") == ProfileMatch("fraud", path, "registered_model")


def test_a_draft_asks_for_what_the_registry_cannot_know(workspace: Workspace) -> None:
    signature = ModelSignature(
        inputs=(ColumnSpec(name="vic price", type="double"), ColumnSpec(name="yes", type="string")),
        outputs=(ColumnSpec(name="class", type="string"),),
    )
    text = draft_profile("main.energy.direction", signature, champion_alias="prod")

    said = _faults(workspace, "main.energy.direction", text)

    assert said.splitlines()[0] == "profile 'main.energy.direction' has 3 problems:"
    for field in ("data.source", "data.event_time", "data.target"):
        assert f"{field} = 'FILL_IN': is still to be filled in" in said


def test_a_draft_filled_in_loads_and_observes(workspace: Workspace) -> None:
    signature = ModelSignature(
        inputs=(ColumnSpec(name="vic: price", type="double"), ColumnSpec(name="yes", type="string")),
        outputs=(ColumnSpec(name="class", type="string"),),
    )
    _put(workspace, "m", draft_profile("m", signature).replace("FILL_IN", "x"))

    profile = load_profile(workspace, "m").profile

    assert profile.data.features == ("vic: price", "yes")
    assert (profile.task, profile.mode, profile.champion.value) == ("classification", "observe", "champion")


def test_a_draft_without_a_signature_marks_task_and_features_too(workspace: Workspace) -> None:
    said = _faults(workspace, "m", draft_profile("m"))

    assert said.startswith("profile 'm' has 6 problems")
    assert "data.features[0] = 'FILL_IN'" in said


def test_a_written_profile_is_not_overwritten_by_a_draft(tmp_path: Path) -> None:
    path = tmp_path / "profiles" / "m.yaml"
    write_profile(path, "id: m\n")

    with pytest.raises(Conflict, match="exists already"):
        write_profile(path, "id: other\n")
    assert path.read_text(encoding="utf-8") == "id: m\n"


def test_a_rendered_profile_reads_back_whole(workspace: Workspace) -> None:
    _put(workspace, "fraud", MINIMAL + "training: {kind: project, uri: t, parameters: {depth: 3, name: 'no: #1'}}\n")
    profile = load_profile(workspace, "fraud").profile
    _put(workspace, "fraud", render_profile(profile.model_dump(mode="json"), {"mode": "two\nlines"}))

    assert load_profile(workspace, "fraud").profile == Profile.model_validate(profile.model_dump())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.c", "a.b.c"), ("team/my model", "team-my-model"), ("defaults", "defaults-model"), ("/", "model-model")],
)
def test_a_registered_name_becomes_a_file_name(name: str, expected: str) -> None:
    assert profile_id(name) == expected


def test_the_documentation_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "profile.md").read_text(encoding="utf-8")

    def names(model: Any) -> set[str]:
        found: set[str] = set()
        for name, spec in model.model_fields.items():
            found.add(name)
            for option in (spec.annotation, *get_args(spec.annotation)):
                if isinstance(option, type) and issubclass(option, BaseModel):
                    found |= names(option)
        return found

    assert {name for name in names(Profile) if name not in page} == set()


@pytest.mark.parametrize(
    "urls", ["['${CHAT}', 'slack://s3cr3t-word/x']", "slack://s3cr3t-word/x", "[{a: s3cr3t-word}]"]
)
@pytest.mark.parametrize("field", ["notify:\n  urls", "review:\n  escalate_to"])
def test_address_that_is_refused_is_not_shown(workspace: Workspace, field: str, urls: str) -> None:
    _put(workspace, "fraud", f"{MINIMAL}{field}: {urls}\n")

    with pytest.raises(BadInput) as raised:
        load_profile(workspace, "fraud")

    assert "fraud.yaml:" in str(raised.value)
    assert "s3cr3t-word" not in f"{raised.value} {raised.value.value!r}"
