"""A user's own metric: scripted, and in a subprocess. Then what only a real function can do wrong."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tools.adapters.memory_training import ScriptedScorer
from tools.adapters.subprocess_scorer import SubprocessScorer
from tools.contracts.measuring import MetricJob, MetricResult
from tools.ports import Scorer

ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0], "not_a_feature": [7, 8, 9], "y": [0, 1, 1]})
SCORED = pd.DataFrame({"prediction": [0, 1, 0], "proba:0": [0.9, 0.2, 0.6], "proba:1": [0.1, 0.8, 0.4]})
PROFIT = "return rows['a'] * (rows['prediction'] == rows['y']) + rows['proba:1']"


def real(folder: Path) -> SubprocessScorer:
    nobody = f"sqlite:///{folder}/nobody.db"
    return SubprocessScorer(nobody, nobody, folder / "environments")


def job(folder: Path, **changes: Any) -> MetricJob:
    for name, frame in (("rows", ROWS), ("scored", SCORED)):
        if not (folder / f"{name}.parquet").exists():
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    given = {
        "name": "metrics/value.py:profit",
        "root": str(folder / "workspace"),
        "rows": str(folder / "rows.parquet"),
        "scored": str(folder / "scored.parquet"),
        "features": ("a",),
        "target": "y",
        "output": str(folder / "values.parquet"),
        "time_limit": timedelta(seconds=60),
        "memory_limit_mb": 1500,
    }
    return MetricJob.model_validate(given | changes)


def written(folder: Path, body: str) -> Path:
    file = folder / "workspace" / "metrics" / "value.py"
    file.parent.mkdir(parents=True)
    file.write_text(f"import os, sys, time\ndef helper(rows): ...\ndef profit(rows):\n    {body}\n")
    return file


def scripted(folder: Path) -> Scorer:
    scorer = ScriptedScorer({})
    scorer.functions["metrics/value.py:profit"] = lambda rows: (
        rows["a"] * (rows["prediction"] == rows["y"]) + rows["proba:1"]
    )
    return scorer


def in_subprocess(folder: Path) -> Scorer:
    written(folder, PROFIT)
    return real(folder)


@pytest.mark.parametrize("made", [scripted, in_subprocess])
def test_function_gets_features_target_and_outputs_and_gives_one_number_a_row(made: Any, tmp_path: Path):
    result = made(tmp_path).measure(job(tmp_path))
    assert result.status == "measured", result.statement
    assert pd.read_parquet(result.output)["value"].tolist() == pytest.approx([1.1, 2.8, 0.4])


@pytest.mark.parametrize("made", [scripted, in_subprocess])
def test_file_that_is_not_there_is_a_result(made: Any, tmp_path: Path):
    result = made(tmp_path).measure(job(tmp_path, name="metrics/other.py:profit"))
    assert (result.status, result.output, result.digest) == ("failed", None, None)
    assert "there is no file metrics/other.py" in result.statement


def test_digest_is_of_the_file_and_the_columns_are_those_of_the_profile(tmp_path: Path):
    file = written(tmp_path, "print(list(rows.columns), flush=True); raise KeyError(','.join(rows.columns))")
    result = real(tmp_path).measure(job(tmp_path))
    assert result.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "a,y,prediction,proba:0,proba:1" in result.statement


@dataclass(frozen=True)
class Case:
    id: str
    body: str
    says: str
    status: str = "failed"
    changes: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("raises", "raise ValueError('no such tariff')", "(exit code 1): `ValueError: no such tariff`"),
    Case("one value", "return 3.5", "profit gave one value for all rows (3.5); it must give one number a row"),
    Case("nothing", "return None", "profit gave one value for all rows (None)"),
    Case("too few", "return [1.0, 2.0]", "profit gave 2 values for 3 rows"),
    Case("a table", "return rows[['a', 'y']]", "profit gave 3 × 2 values for 3 rows"),
    Case("a gap", "return [1.0, float('nan'), float('inf')]", "gave 2 values that are no finite number, in 3 rows"),
    Case("text", "return ['1', '2', '3']", "profit gave values that are no numbers, such as '1'"),
    Case("text among numbers", "return rows['a'].astype(object).where(rows['a'] > 1, 'x')", "no numbers"),
    Case("leaves", "os._exit(0)", "its process ended before it could answer"),
    Case("killed", "os.kill(os.getpid(), 9)", "(signal 9)"),
    Case(
        "no such function",
        "return rows['a']",
        "there is no function 'gain' in value.py; it has helper, profit",
        changes={"name": "metrics/value.py:gain"},
    ),
    Case("not Python", "return (", "SyntaxError"),
    Case(
        "runs for ever",
        "time.sleep(600)",
        "no answer within 0:00:03 (scoring.time_limit)",
        "timed_out",
        {"time_limit": timedelta(seconds=3)},
    ),
    Case(
        "eats memory",
        "kept = [bytearray(50_000_000) for _ in range(100) if not time.sleep(0.02)]; return rows['a']",
        "it took more than 500 MB (scoring.memory_limit_mb)",
        "out_of_memory",
        {"memory_limit_mb": 500},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_whatever_a_function_does_is_a_result_that_says_so(case: Case, tmp_path: Path):
    written(tmp_path, case.body)
    result = real(tmp_path).measure(job(tmp_path, **case.changes))
    assert (result.status, result.output) == (case.status, None)
    assert case.says in result.statement
    assert not (tmp_path / "values.parquet").exists()


@pytest.mark.slow
def test_function_may_print_and_import_from_its_workspace_and_sees_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    body = "from tariffs import PRICE; print('x' * 100_000); return rows['a'] * PRICE + len(os.environ.get('OPENAI_API_KEY', ''))"
    written(tmp_path, body)
    (tmp_path / "workspace" / "tariffs.py").write_text("PRICE = 10.0\n")
    result = real(tmp_path).measure(job(tmp_path))
    assert result == MetricResult(
        status="measured", output=result.output, digest=result.digest, statement="3 rows measured"
    )
    assert pd.read_parquet(result.output or "")["value"].tolist() == [10.0, 20.0, 30.0]
    assert not list((tmp_path / "workspace").rglob("__pycache__"))


def test_link_out_of_the_workspace_is_not_followed(tmp_path: Path):
    outside = tmp_path / "outside.py"
    outside.write_text("def profit(rows): return rows['a']\n")
    (tmp_path / "workspace" / "metrics").mkdir(parents=True)
    (tmp_path / "workspace" / "metrics" / "value.py").symlink_to(outside)
    result = real(tmp_path).measure(job(tmp_path))
    assert (result.status, result.digest) == ("failed", None)
    assert "is a link out of the workspace" in result.statement


def test_file_that_changes_while_it_runs_is_not_measured(tmp_path: Path):
    file = written(tmp_path, "open(__file__, 'a').write('# more'); return rows['a']")
    result = real(tmp_path).measure(job(tmp_path))
    assert (result.status, result.statement) == ("failed", "its file was changed while it ran")
    assert file.read_text().endswith("# more")
