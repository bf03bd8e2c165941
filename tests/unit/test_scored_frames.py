"""Files of rows with a model's outputs beside them: one coding for all, and nothing lost on the way."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from agent.services.measure import criteria_of
from tools.adapters import scored_frames
from tools.contracts.profile import Profile
from tools.errors import BadInput

AT = pd.date_range("2026-01-01", periods=6, freq="D")


def profile(task: str = "classification") -> Profile:
    return Profile.model_validate(
        {
            "id": "m",
            "registered_model": "m",
            "task": task,
            "data": {"source": "rows", "event_time": "at", "target": "y", "features": ["x", "city", "seen"]},
            "metrics": {"primary": {"name": "accuracy" if task == "classification" else "mean_absolute_error"}},
        }
    )


def rows(at: Any = AT, **changes: Any) -> pd.DataFrame:
    n = len(at)
    plain: dict[str, Any] = {
        "at": at,
        "x": np.arange(n, dtype=float),
        "city": ["a", None, "b", "a", "c", "b"][:n],
        "seen": at,
        "y": [True, False, True, True, False, True][:n],
        "__row_hash": [f"h{t:%d}" for t in at],
        "__mature": [True] * n,
        "__prediction": [True] * n,
    }
    return pd.DataFrame(plain | changes)


def saved(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path, index=False)
    return path


def test_both_files_are_coded_alike_in_time_order_and_repeats_are_marked(tmp_path: Path) -> None:
    recent = rows(AT[::-1] + pd.Timedelta("3D"), __mature=[False] * 3 + [True] * 3)
    found = scored_frames.read(
        saved(rows(), tmp_path / "b.parquet"),
        saved(recent, tmp_path / "r.parquet"),
        profile(),
        criteria=criteria_of(profile()),
        with_features=True,
    )
    assert found.baseline is not None
    assert found.baseline.n == found.recent.n == 6
    assert (np.diff(found.recent.time) > 0).all()
    assert found.repeated.tolist() == [True] * 3 + [False] * 3
    assert found.recent.labelled.tolist() == [True] * 3 + [False] * 3
    assert found.baseline.features is not None
    assert np.isnan(found.baseline.features[1, 1])


def test_columns_that_are_gone_are_missing_values_and_a_missing_target_is_no_label(tmp_path: Path) -> None:
    bare = rows().drop(columns=["city", "y"])
    found = scored_frames.read(
        None, saved(bare, tmp_path / "r.parquet"), profile(), criteria=criteria_of(profile()), with_features=True
    )
    assert found.baseline is None
    assert not found.recent.labelled.any()
    assert found.recent.features is not None
    assert np.isnan(found.recent.features[:, 1]).all()


@pytest.mark.parametrize("gone", ["__prediction", "__mature", "at"])
def test_file_without_what_it_must_hold_is_named(tmp_path: Path, gone: str) -> None:
    path = saved(rows().drop(columns=gone), tmp_path / "r.parquet")
    with pytest.raises(BadInput, match=gone):
        scored_frames.read(None, path, profile(), criteria=criteria_of(profile()), with_features=False)


def test_number_of_outputs_must_be_that_of_the_rows(tmp_path: Path) -> None:
    scores = saved(pd.DataFrame({"prediction": [1, 2]}), tmp_path / "s.parquet")
    with pytest.raises(BadInput, match="2 outputs for 6 rows"):
        scored_frames.write_outputs(saved(rows(), tmp_path / "r.parquet"), scores, tmp_path / "o.parquet")


@pytest.mark.parametrize("predicted", [[1] * 6, [True] * 6, ["yes"] * 6, [0.5] * 6])
def test_outputs_of_rows_that_were_trained_on_are_blank_and_the_others_keep_their_type(
    tmp_path: Path, predicted: list[Any]
) -> None:
    path = saved(rows(__prediction=predicted), tmp_path / "r.parquet")
    out = scored_frames.window_with_outputs(
        path, 5, profile(), datetime(2026, 1, 2, tzinfo=UTC), tmp_path / "w.parquet"
    )
    assert pq.read_table(out)["__prediction"].to_pylist() == [None, None, *predicted[:3]]


def test_feature_that_alone_moves_the_output_has_all_the_importance(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"x": np.arange(40.0), "city": ["a", "b"] * 20, "seen": pd.date_range("2026-01-01", periods=40)}
    )
    copies = tmp_path / "c.parquet"
    count = scored_frames.shuffled_copies(saved(frame, tmp_path / "r.parquet"), ["x", "city", "seen"], 500, copies)
    shuffled = pd.read_parquet(copies)
    assert (count, len(shuffled)) == (40, 160)
    for outputs in ({"prediction": shuffled["x"]}, {"prediction": "up" + (shuffled["x"] > 19).astype(str)}):
        scored = saved(pd.DataFrame(outputs), tmp_path / "s.parquet")
        assert scored_frames.importance(scored, ["x", "city", "seen"], count) == {"x": 1.0, "city": 0.0, "seen": 0.0}
    constant = saved(pd.DataFrame({"prediction": [1.0] * 160}), tmp_path / "s.parquet")
    assert scored_frames.importance(constant, ["x", "city", "seen"], count) is None


def test_baseline_is_thinned_evenly_and_leaves_out_what_was_trained_on(tmp_path: Path) -> None:
    plain = rows().drop(columns=["__mature", "__prediction"])
    scores = saved(pd.DataFrame({"prediction": [1] * 6}), tmp_path / "s.parquet")
    part = (str(saved(plain, tmp_path / "r.parquet")), str(scores), {"h01", "h06"})
    out = tmp_path / "b.parquet"
    assert scored_frames.baseline_rows([part], profile(), 2, out) == 2
    assert pd.read_parquet(out)["__row_hash"].tolist() == ["h02", "h05"]
    assert scored_frames.baseline_rows([(*part[:2], {f"h0{i}" for i in range(1, 7)})], profile(), 2, out) == 0
