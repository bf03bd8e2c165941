"""Prometheus's own tool reads the exported rules, and plays them: harm fires, health is quiet, silence rolls nothing back."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engines.conftest import unavailable
from tools import alert_rules
from tools.canary import SLOW
from tools.contracts.rollout import Analysis, RolloutMetric, RolloutPlan, SetWeight

pytestmark = pytest.mark.promtool

PLAN = RolloutPlan(
    candidate_version="2",
    last_known_good="1",
    strategy="canary",
    steps=(SetWeight(weight=50), Analysis(), SetWeight(weight=100)),
    metrics=(
        RolloutMetric(name="errors", margin=0.02, min_samples=200),
        RolloutMetric(name="latency_ms", margin=0.05, min_samples=200, failure_limit=1),
        RolloutMetric(name="quality", margin=0.01),
    ),
    max_duration=timedelta(hours=1),
    digest="d1",
)
NAMES = alert_rules.SeriesNames()


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        unavailable("promtool is not installed: `make engines` installs Debian's prometheus")
    assert found is not None
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yml"
    file.write_text(alert_rules.export(PLAN, model_id="prices", run_id="r1").text)
    return file


def series(
    version: str, share: str, *, answers: int = 300, failed: int | None = 3, slow: int = 0, healthy: int = 1
) -> list[Any]:
    """Half an hour, a sample a minute: answers, failed ones and those of 60 ms in place of 8 of each minute, counted under
    `share`."""
    server, label = (f'{NAMES.label}="version_{name}"' for name in (version, share))
    failures = NAMES.failures.format(selector=label)
    made = [
        (f"{NAMES.answers}{{{label}}}", f"0+{answers}x30"),
        (f"{NAMES.milliseconds}_count{{{label}}}", f"0+{answers}x30"),
        (f"{NAMES.milliseconds}_sum{{{label}}}", f"0+{(answers - slow) * 8 + slow * 60}x30"),
        (f"{NAMES.healthy}{{{server}}}", f"{healthy}x30"),
    ]
    for bound, within in (
        ("5", 0),
        ("10", answers - slow),
        ("50", answers - slow),
        ("100", answers),
        ("+Inf", answers),
    ):
        made.append((f'{NAMES.milliseconds}_bucket{{{label},le="{bound}"}}', f"0+{within}x30"))
    if share != version:
        # Of the cluster that stands before the server: it has no host of its own, and the server's own counter stays at none.
        made += [(f"{NAMES.healthy}{{{label}}}", "0x30"), (f"{NAMES.answers}{{{server}}}", "0x30")]
    if failed is not None:
        made.append((failures, f"0+{failed}x30"))
    return [{"series": name, "values": values} for name, values in made]


QUIET: dict[str, Any] = {}
CASES = [
    pytest.param(QUIET, set(), id="two alike"),
    pytest.param({"failed": None}, set(), id="no failure was ever counted"),
    pytest.param({"failed": 12}, set(), id="worse, but within the margin and its error"),
    pytest.param({"failed": 90}, {"RetrainingErrorsHarmful"}, id="a third fails"),
    pytest.param({"failed": 9, "answers": 10}, set(), id="harm on too few samples"),
    pytest.param({"slow": 300}, {"RetrainingLatencyMsHarmful"}, id="all slow"),
    pytest.param(
        {"slow": 60}, {"RetrainingLatencyMsHarmful"}, id="a fifth slow, where a twentieth and the margin are allowed"
    ),
    pytest.param(
        {"slow": 24}, set(), id="four milliseconds slower on the mean, and the share of slow ones within the margin"
    ),
    pytest.param({"slow": 60, "champion": {"slow": 60}}, set(), id="as slow as the champion is"),
    pytest.param({"slow": 8, "answers": 8}, set(), id="slow on too few samples"),
    pytest.param({"healthy": 0}, {"RetrainingCandidateUnhealthy"}, id="dead"),
    pytest.param(None, {"RetrainingNoData"}, id="no series of the candidate"),
]


@pytest.mark.parametrize(("candidate", "fires"), CASES)
def test_rules_fire_on_harm_and_on_nothing_else(
    promtool: str, rules: Path, tmp_path: Path, candidate: dict[str, Any] | None, fires: set[str]
) -> None:
    written = yaml.safe_load(rules.read_text())["groups"][0]["rules"]
    given = dict(candidate or {})
    played = series("1", "1", **given.pop("champion", {})) + (
        [] if candidate is None else series("2", "2_else_1", **given)
    )
    checks = [
        {
            "eval_time": "25m",
            "alertname": rule["alert"],
            "exp_alerts": [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}]
            if rule["alert"] in fires
            else [],
        }
        for rule in written
    ]
    test = {
        "rule_files": [rules.name],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": played, "alert_rule_test": checks}],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test))

    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_slow_is_what_a_look_calls_slow() -> None:
    assert abs(alert_rules.SLOW_SHARE - (1 - SLOW)) < 1e-9


def test_promtool_accepts_the_file_and_refuses_a_broken_one(promtool: str, rules: Path) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([promtool, "check", "rules", str(rules)], capture_output=True, text=True, timeout=60)

    accepted = check()
    rules.write_text(rules.read_text().replace("sum(", "sum((", 1))
    refused = check()

    assert (accepted.returncode, refused.returncode != 0) == (0, True), accepted.stdout + accepted.stderr
    assert "SUCCESS: 4 rules found" in accepted.stdout
