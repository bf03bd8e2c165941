"""Latency and size, for real: models that sleep in subprocesses. Then what cannot be timed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_scorers import ROWS, real, saved
from tools.adapters.memory_training import ScriptedScorer
from tools.contracts.comparison import Criterion
from tools.contracts.measuring import TimingJob
from tools.operational import judge_latency

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")]
SLEEPS = "import time; time.sleep({seconds}); return model_input['a'] * 2"


def job(folder: Path, champion: Path, candidate: Path, **changes: Any) -> TimingJob:
    ROWS.to_parquet(folder / "rows.parquet", index=False)
    given = {
        "champion_uri": str(champion),
        "candidate_uri": str(candidate),
        "rows": str(folder / "rows.parquet"),
        "features": ("b", "a"),
        "task": "regression",
        "pairs": 2,
        "calls": 40,
        "warm_up": 3,
        "time_limit": timedelta(seconds=60),
        "memory_limit_mb": 2000,
    }
    return TimingJob.model_validate(given | changes)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sleepers")
    return tuple(  # pyright: ignore[reportReturnType]
        saved(folder / name, SLEEPS.format(seconds=seconds)) for name, seconds in (("quick", 0.002), ("slow", 0.02))
    )


def test_model_that_sleeps_longer_is_slower_by_about_that(pair: tuple[Path, Path], tmp_path: Path):
    quick, slow = pair
    found = real(tmp_path).time(job(tmp_path, quick, slow))
    assert found.fault is None
    assert [len(one) for one in (*found.champion_ms, *found.candidate_ms)] == [40] * 4
    assert min(found.champion_ms[0]) >= 2.0
    assert min(found.candidate_ms[0]) >= 20.0
    # Two pairs do not make an interval at 0.95: nothing is said rather than something.
    wanted = Criterion(metric="latency_ms", role="guardrail", direction="lower", unit="relative", margin=0.1)
    assert judge_latency(wanted, found, 0.95).verdict == "no_data"
    assert judge_latency(wanted, found, 0.5).verdict == "regressed"


@pytest.mark.parametrize(
    ("body", "says", "limits"),
    [
        ("raise ValueError('boom')", "the champion could not be timed: ValueError: boom", {}),
        (
            "import time; time.sleep(60)",
            "the champion did not make 43 single-row predictions within 0:00:08",
            {"time_limit": timedelta(seconds=8)},
        ),
    ],
)
def test_model_that_cannot_be_timed_says_why(
    pair: tuple[Path, Path], tmp_path: Path, body: str, says: str, limits: dict[str, Any]
):
    found = real(tmp_path).time(job(tmp_path, saved(tmp_path / "m", body), pair[0], pairs=1, **limits))
    assert (found.fault, found.champion_ms, found.candidate_ms) == (says, (), ())


def test_altered_or_absent_model_is_not_timed(pair: tuple[Path, Path], tmp_path: Path):
    quick, slow = pair
    altered = real(tmp_path).time(job(tmp_path, quick, slow, champion_digest="0" * 64))
    assert altered.fault == f"the champion {quick} was altered; it was not opened"
    absent = real(tmp_path).time(job(tmp_path, quick, tmp_path / "gone"))
    assert "could not be fetched" in (absent.fault or "")


def test_size_is_that_of_the_files(pair: tuple[Path, Path], tmp_path: Path):
    from tests.conformance.test_scorers import job as scoring_job

    quick, _ = pair
    result = real(tmp_path).score(scoring_job(tmp_path, quick))
    assert result.model_bytes == sum(file.stat().st_size for file in quick.rglob("*") if file.is_file())


def test_scripted_times_are_as_given():
    scorer = ScriptedScorer({})
    scorer.milliseconds = {"a": 2.0, "b": 3.0}
    wanted = TimingJob.model_validate(
        {
            "champion_uri": "a",
            "candidate_uri": "b",
            "rows": "",
            "features": ("x",),
            "task": "regression",
            "pairs": 2,
            "calls": 3,
            "warm_up": 0,
            "time_limit": timedelta(seconds=1),
            "memory_limit_mb": 1,
        }
    )
    found = scorer.time(wanted)
    assert found.champion_ms == ((2.0,) * 3, (2.0 * 1.01,) * 3)
    assert found.candidate_ms == ((3.0,) * 3, (3.0 * 1.01,) * 3)
    assert scorer.time(wanted.model_copy(update={"champion_uri": "c"})).fault == "c could not be timed"
