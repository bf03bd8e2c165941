"""Labels that are handed in: each once, whatever the file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tools.adapters.label_store import Added, add_labels, label_folder, own_labels
from tools.adapters.traffic_log import IbisLabels
from tools.errors import BadInput, NotFound, Unavailable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def stored(folder: Path) -> list[tuple[str, object, float]]:
    spec = own_labels(folder.parent.parent, folder.name)
    assert spec.source == str(folder)
    known = IbisLabels(spec, folder).of([f"q{i}" for i in range(20)], NOW + timedelta(days=9))
    return list(zip(known.request_id.tolist(), known.label.tolist(), known.at.tolist(), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return label_folder(tmp_path, "prices")


def test_a_file_added_twice_adds_nothing_the_second_time(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\nq2,b\n")
    assert add_labels(folder, file, NOW) == Added(2, 0, 0)
    once = stored(folder)
    assert add_labels(folder, file, NOW + timedelta(hours=1)) == Added(0, 2, 0)
    assert stored(folder) == once == [("q1", "a", NOW.timestamp()), ("q2", "b", NOW.timestamp())]


def test_a_longer_file_adds_only_what_is_new(tmp_path: Path, folder: Path):
    add_labels(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\nq2,0\n"), NOW)
    longer = csv(tmp_path / "b.csv", "request_id,label\nq1,1\nq2,0\nq3,1\n")
    assert add_labels(folder, longer, NOW) == Added(1, 2, 0)
    assert [(name, label) for name, label, _ in stored(folder)] == [("q1", 1), ("q2", 0), ("q3", 1)]


def test_times_of_the_file_are_kept(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label,at\nq1,a,2026-02-01T00:00:00+01:00\n")
    add_labels(folder, file, NOW)
    assert stored(folder) == [("q1", "a", datetime(2026, 1, 31, 23, tzinfo=UTC).timestamp())]


def test_parquet_and_json_lines_are_read_too(tmp_path: Path, folder: Path):
    pd.DataFrame({"request_id": ["q1"], "label": [1.5]}).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text(json.dumps({"request_id": "q2", "label": 2.5}) + "\n")
    assert add_labels(folder, tmp_path / "in.parquet", NOW).added == 1
    assert add_labels(folder, tmp_path / "in.jsonl", NOW).added == 1
    assert [(name, label) for name, label, _ in stored(folder)] == [("q1", 1.5), ("q2", 2.5)]


def test_rows_without_id_or_label_are_left_out_and_counted(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\n,b\nq3,\n")
    assert add_labels(folder, file, NOW) == Added(1, 0, 2)


def test_another_label_for_a_request_is_kept_for_time_tells_which_counts(tmp_path: Path, folder: Path):
    add_labels(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,a\n"), NOW)
    assert add_labels(folder, csv(tmp_path / "b.csv", "request_id,label\nq1,b\n"), NOW + timedelta(1)).added == 1
    assert len(stored(folder)) == 2


def test_text_among_numbers_is_refused_before_it_breaks_the_table(tmp_path: Path, folder: Path):
    add_labels(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\n"), NOW)
    with pytest.raises(BadInput, match="labels of type string, those that are there are of type int64"):
        add_labels(folder, csv(tmp_path / "b.csv", "request_id,label\nq2,good\n"), NOW)
    assert len(stored(folder)) == 1


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path, folder: Path):
    with pytest.raises(BadInput, match="no column 'request_id'; it has id, label"):
        add_labels(folder, csv(tmp_path / "a.csv", "id,label\nq1,1\n"), NOW)
    with pytest.raises(NotFound, match="there is no file"):
        add_labels(folder, tmp_path / "none.csv", NOW)
    with pytest.raises(BadInput, match="none of CSV, Parquet and JSON lines"):
        add_labels(folder, csv(tmp_path / "a.txt", "request_id,label\nq1,1\n"), NOW)


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\n")
    (tmp_path / "labels").write_text("in the way")
    with pytest.raises(Unavailable, match="could not be written"):
        add_labels(tmp_path / "labels" / "prices", file, NOW)


@pytest.mark.parametrize("model", ["../../etc", "a/b", "..", "catalog.schema.model"])
def test_no_model_id_leads_out_of_the_folder(tmp_path: Path, model: str):
    folder = label_folder(tmp_path, model)
    assert folder.resolve().parent == (tmp_path / "labels").resolve()


def test_of_many_ids_only_their_labels_are_read(tmp_path: Path, folder: Path):
    add_labels(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\nother,1\n"), NOW)
    assert [name for name, _, _ in stored(folder)] == ["q1"]
