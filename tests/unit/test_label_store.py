"""Labels that are handed in: each once, whatever the file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tools.adapters.label_store import Added, add_labels, label_folder, own_labels
from tools.adapters.traffic_log import IbisLabels
from tools.contracts.profile import LabelSpec
from tools.errors import BadInput, NotFound, Unavailable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def add(folder: Path, file: Path, now: datetime) -> Added:
    return add_labels(LabelSpec(source=str(folder)), folder.parent, file, now)


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
    assert add(folder, file, NOW) == Added(2, 0, 0)
    once = stored(folder)
    assert add(folder, file, NOW + timedelta(hours=1)) == Added(0, 2, 0)
    assert stored(folder) == once == [("q1", "a", NOW.timestamp()), ("q2", "b", NOW.timestamp())]


def test_a_longer_file_adds_only_what_is_new(tmp_path: Path, folder: Path):
    add(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\nq2,0\n"), NOW)
    longer = csv(tmp_path / "b.csv", "request_id,label\nq1,1\nq2,0\nq3,1\n")
    assert add(folder, longer, NOW) == Added(1, 2, 0)
    assert [(name, label) for name, label, _ in stored(folder)] == [("q1", 1), ("q2", 0), ("q3", 1)]


def test_times_of_the_file_are_kept(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label,at\nq1,a,2026-02-01T00:00:00+01:00\n")
    add(folder, file, NOW)
    assert stored(folder) == [("q1", "a", datetime(2026, 1, 31, 23, tzinfo=UTC).timestamp())]


def test_parquet_and_json_lines_are_read_too(tmp_path: Path, folder: Path):
    pd.DataFrame({"request_id": ["q1"], "label": [1.5]}).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text(json.dumps({"request_id": "q2", "label": 2.5}) + "\n")
    assert add(folder, tmp_path / "in.parquet", NOW).added == 1
    assert add(folder, tmp_path / "in.jsonl", NOW).added == 1
    assert [(name, label) for name, label, _ in stored(folder)] == [("q1", 1.5), ("q2", 2.5)]


def test_rows_without_id_or_label_are_left_out_and_counted(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\n,b\nq3,\n")
    assert add(folder, file, NOW) == Added(1, 0, 2)


def test_another_label_for_a_request_is_kept_for_time_tells_which_counts(tmp_path: Path, folder: Path):
    add(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,a\n"), NOW)
    assert add(folder, csv(tmp_path / "b.csv", "request_id,label\nq1,b\n"), NOW + timedelta(1)).added == 1
    assert len(stored(folder)) == 2


def test_text_among_numbers_is_refused_before_it_breaks_the_table(tmp_path: Path, folder: Path):
    add(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\n"), NOW)
    with pytest.raises(BadInput, match=r"label is of type string, what stands in .* is of type int64"):
        add(folder, csv(tmp_path / "b.csv", "request_id,label\nq2,good\n"), NOW)
    assert len(stored(folder)) == 1


def test_a_missing_column_and_a_missing_file_are_named(tmp_path: Path, folder: Path):
    with pytest.raises(BadInput, match="no column 'request_id'; it has id, label"):
        add(folder, csv(tmp_path / "a.csv", "id,label\nq1,1\n"), NOW)
    with pytest.raises(NotFound, match="there is no file"):
        add(folder, tmp_path / "none.csv", NOW)
    with pytest.raises(BadInput, match="none of CSV, Parquet and JSON lines"):
        add(folder, csv(tmp_path / "a.txt", "request_id,label\nq1,1\n"), NOW)


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\n")
    (tmp_path / "labels").write_text("in the way")
    with pytest.raises(Unavailable, match="could not be written"):
        add(tmp_path / "labels" / "prices", file, NOW)


@pytest.mark.parametrize("model", ["../../etc", "a/b", "..", "catalog.schema.model"])
def test_no_model_id_leads_out_of_the_folder(tmp_path: Path, model: str):
    folder = label_folder(tmp_path, model)
    assert folder.resolve().parent == (tmp_path / "labels").resolve()


def test_of_many_ids_only_their_labels_are_read(tmp_path: Path, folder: Path):
    add(folder, csv(tmp_path / "a.csv", "request_id,label\nq1,1\nother,1\n"), NOW)
    assert [name for name, _, _ in stored(folder)] == ["q1"]


# --- a table of the user's own --------------------------------------------------------------------------------------

OWN = LabelSpec(source="truth", request_id="id", label="price", time="told")


def theirs(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "truth").sort_values(["id", "price"]).reset_index(drop=True)


def test_labels_go_into_the_users_own_folder_under_its_names_and_types(tmp_path: Path):
    (tmp_path / "truth").mkdir()
    there = pd.DataFrame({"id": [1, 2], "price": [1.5, 2.5], "told": pd.to_datetime([NOW, NOW]).tz_localize(None)})
    there.assign(source="till").to_parquet(tmp_path / "truth" / "2026-02.parquet")
    file = csv(tmp_path / "in.csv", "request_id,label,at\n2,2.5,2026-03-01\n3,4,2026-03-02T01:00:00+01:00\n")
    assert add_labels(OWN, tmp_path, file, NOW) == Added(1, 1, 0)
    assert add_labels(OWN, tmp_path, file, NOW) == Added(0, 2, 0)
    known = IbisLabels(OWN, tmp_path).of(["1", "2", "3"], NOW + timedelta(days=1))
    assert list(zip(known.request_id.tolist(), known.label.tolist(), strict=True)) == [
        ("1", 1.5),
        ("2", 2.5),
        ("3", 4.0),
    ]
    assert theirs(tmp_path)["told"].tolist()[2] == pd.Timestamp("2026-03-02")
    assert theirs(tmp_path)["source"].isna().tolist() == [False, False, True]


def test_whole_numbers_become_text_where_the_users_labels_are_text(tmp_path: Path):
    (tmp_path / "truth").mkdir()
    there = pd.DataFrame({"id": ["a"], "price": ["1"], "told": pd.to_datetime([NOW])})
    there.to_parquet(tmp_path / "truth" / "x.parquet")
    assert add_labels(OWN, tmp_path, csv(tmp_path / "in.csv", "request_id,label\na,1\nb,0\n"), NOW) == Added(1, 1, 0)
    assert theirs(tmp_path)["price"].tolist() == ["1", "0"]
    with pytest.raises(BadInput, match="price is of type double"):
        add_labels(OWN, tmp_path, csv(tmp_path / "b.csv", "request_id,label\nc,0.5\n"), NOW)


@pytest.mark.parametrize(
    "source", ["truth.csv", "truth.parquet", "truth/*.parquet", "spark:truth", "s3://bucket/truth"]
)
def test_labels_are_refused_where_nothing_can_be_appended(tmp_path: Path, source: str):
    file = csv(tmp_path / "in.csv", "request_id,label\na,1\n")
    with pytest.raises(BadInput, match=r"rollout\.labels: nothing can be written to"):
        add_labels(LabelSpec(source=source), tmp_path, file, NOW)


def test_a_folder_of_csv_files_and_one_without_the_columns_are_left_as_they_are(tmp_path: Path):
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "a.csv").write_text("id,price,told\nq,1,2026-01-01\n")
    file = csv(tmp_path / "in.csv", "request_id,label\na,1\n")
    with pytest.raises(BadInput, match="holds CSV files"):
        add_labels(OWN, tmp_path, file, NOW)
    (tmp_path / "truth" / "a.csv").unlink()
    pd.DataFrame({"id": ["q"], "cost": [1.0]}).to_parquet(tmp_path / "truth" / "a.parquet")
    with pytest.raises(BadInput, match="has no column 'price'"):
        add_labels(OWN, tmp_path, file, NOW)
    assert [path.name for path in (tmp_path / "truth").glob("*.parquet")] == ["a.parquet"]


def test_what_a_kill_left_half_written_is_no_label_and_is_added_again(tmp_path: Path, folder: Path):
    file = csv(tmp_path / "in.csv", "request_id,label\nq1,a\n")
    folder.mkdir(parents=True)
    (folder / ".0123.parquet.part").write_bytes(b"PAR1 half")
    assert add(folder, file, NOW) == Added(1, 0, 0)
    assert stored(folder) == [("q1", "a", NOW.timestamp())]
