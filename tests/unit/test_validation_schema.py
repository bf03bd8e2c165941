"""Is a Pandera schema read, refused with its line, drafted from what was seen, and counted by queries as Pandera would?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tools.adapters.pandera_schema import dump, read_rules
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import ColumnProfile, DataProfile, RuleCount, SchemaRule
from tools.errors import BadInput, NotFound
from tools.schema_rules import draft, rule_checks

SPEC = DataSpec(source="rows", event_time="at", target="y", features=("x", "kind"), key=("id",), public=("x",))
END = datetime(2030, 1, 1, tzinfo=UTC)


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "at": pd.date_range("2026-01-01", periods=10, freq="D"),
            "id": [0, 1, 2, 3, 4, 5, 6, 7, 8, 8],
            "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.nan, np.nan, 99.0],
            "kind": ["a", "b", "a", "b", "a", "b", "zz", None, "a", "b"],
            "y": [0, 1] * 5,
        }
    )


def counted(data: Any, *rules: SchemaRule) -> dict[str, int | None]:
    made = data.check_schema(SPEC, None, END, rules)
    assert [one.rule for one in made] == list(rules)
    return {one.rule.check: one.failing for one in made}


def rule(column: str, check: str, **arguments: Any) -> SchemaRule:
    return SchemaRule(column=column, check=check, arguments=arguments)


@pytest.fixture(params=["memory", "ibis"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        from tools.adapters.memory_data import MemoryData

        return MemoryData({"rows": rows()})
    from tools.adapters.ibis_data import IbisData

    rows().to_parquet(tmp_path / "rows", index=False)
    (tmp_path / "rows").rename(tmp_path / "rows.parquet")
    return _Renamed(IbisData(tmp_path))


class _Renamed:
    """The file's name for the source that the rules speak of."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def check_schema(self, spec: DataSpec, *rest: Any) -> Any:
        return self._data.check_schema(spec.model_copy(update={"source": "rows.parquet"}), *rest)


def test_rules_are_counted_over_all_rows_and_nulls_break_only_not_null(data: Any):
    assert counted(
        data,
        rule("x", "required"),
        rule("x", "not_null"),
        rule("x", "in_range", min_value=0, max_value=6),
        rule("x", "greater_than", min_value=0),
        rule("kind", "isin", allowed_values=["a", "b"]),
        rule("kind", "str_matches", pattern="[ab]$"),
        rule("kind", "str_length", min_value=1, max_value=1),
        rule("id", "unique", columns=["id"]),
        rule("x", "dtype", dtype="float64"),
        rule("at", "less_than", max_value="2026-01-09"),
    ) == {
        "required": 0,
        "not_null": 2,
        "in_range": 1,
        "greater_than": 1,
        "isin": 1,
        "str_matches": 1,
        "str_length": 1,
        "unique": 1,
        "dtype": 0,
        "less_than": 2,
    }


def test_rules_that_no_row_breaks_count_nothing(data: Any):
    found = counted(
        data,
        rule("x", "in_range", min_value=0, max_value=99),
        rule("kind", "isin", allowed_values=["a", "b", "zz"]),
        rule("at", "unique", columns=["at"]),
        rule("kind", "dtype", dtype="str"),
    )
    assert set(found.values()) == {0}


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (rule("x", "unique_values_eq", values=[1]), "the check 'unique_values_eq' cannot be run as a query"),
        (rule("gone", "not_null"), "there is no column gone"),
        (rule("(whole rows)", "custom"), "about whole rows"),
        (rule("x", "str_matches", pattern="a"), "str_matches does not fit a column of type float64"),
    ],
)
def test_rule_that_no_query_can_count_says_why_and_the_others_are_counted(broken: SchemaRule, why: str, data: Any):
    first, second = data.check_schema(SPEC, None, END, [broken, rule("x", "not_null")])
    assert (first.failing, second.failing) == (None, 2)
    assert why in first.reason


def test_examples_show_hash_and_time_and_the_value_of_public_columns_only(data: Any):
    x, kind = data.check_schema(
        SPEC,
        None,
        END,
        [rule("x", "in_range", min_value=0, max_value=6), rule("kind", "isin", allowed_values=["a", "b"])],
    )
    assert x.examples[0] | {"row_hash": ""} == {"row_hash": "", "event_time": "2026-01-10T00:00:00", "value": "99.0"}
    assert set(kind.examples[0]) == {"row_hash", "event_time"}
    assert len(x.examples[0]["row_hash"]) == 32


def test_window_bounds_what_is_counted(data: Any):
    (found,) = data.check_schema(SPEC, None, datetime(2026, 1, 9, tzinfo=UTC), [rule("x", "not_null")])
    assert (found.rows, found.failing) == (8, 1)


# The file


SCHEMA = """schema_type: dataframe
columns:
  x:
    dtype: float64
    nullable: true
    in_range:
      min_value: 0
      max_value: 6
  kind:
    dtype: str
    nullable: true
    isin: [a, b]
  id:
    dtype: int64
unique: [id]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "schema.yaml"
    path.write_text(text)
    return path


def test_schema_file_is_read_as_rules(tmp_path: Path):
    rules = read_rules(written(tmp_path, SCHEMA))
    assert [(one.column, one.check) for one in rules] == [
        ("x", "required"),
        ("x", "dtype"),
        ("x", "in_range"),
        ("kind", "required"),
        ("kind", "dtype"),
        ("kind", "isin"),
        ("id", "required"),
        ("id", "dtype"),
        ("id", "not_null"),
        ("id", "unique"),
    ]
    assert rules[2].arguments["max_value"] == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (
            "    nullable: true\n    in",
            "    nulable: true\n    in",
            5,
            "'nulable' is neither a field of a column nor a check",
        ),
        ("dtype: int64", "dtype: floaty", 13, "column 'id': data type 'floaty' not understood"),
        ("unique: [id]", "uniq: [id]", 15, "'uniq' is no field of a Pandera schema"),
        ("    isin: [a, b]", "    isin: [a, b", 13, "not readable as YAML"),
        ("columns:", "columnes:", 2, "'columnes' is no field"),
    ],
)
def test_schema_file_at_fault_is_refused_with_its_line(old: str, new: str, line: int, said: str, tmp_path: Path):
    path = written(tmp_path, SCHEMA.replace(old, new, 1))
    with pytest.raises(BadInput) as refused:
        read_rules(path)
    assert f"{path}:{line}: " in refused.value.message
    assert said in refused.value.message


def test_schema_file_that_is_not_there_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound):
        read_rules(tmp_path / "none.yaml")


def profile() -> DataProfile:
    numbers = tuple(float(q) for q in np.linspace(10, 20, 101))
    return DataProfile(
        rows=1000,
        duplicate_share=0.0,
        columns=(
            ColumnProfile(name="x", family="numeric", null_share=0.02, distinct=900, quantiles=numbers),
            ColumnProfile(
                name="kind", family="categorical", null_share=0.0, distinct=2, categories={"a": 0.5, "b": 0.5}
            ),
            ColumnProfile(name="y", family="numeric", null_share=0.0, distinct=2, quantiles=(0.0,) * 50 + (1.0,) * 51),
        ),
    )


TYPES = {"at": "timestamp(6)", "id": "int64", "x": "float64", "kind": "string", "y": "int64"}


def test_draft_holds_what_was_seen_with_a_margin_and_reads_back_as_rules(tmp_path: Path):
    made = draft(reference=profile(), types=TYPES, data=SPEC, unique=True)
    assert made["columns"]["x"] == {
        "dtype": "float64",
        "nullable": True,
        "in_range": {"min_value": 7.5, "max_value": 22.5},
    }
    assert made["columns"]["kind"] == {"dtype": "str", "nullable": False, "isin": ["a", "b"]}
    assert made["columns"]["y"]["isin"] == [0, 1]
    assert made["unique"] == ["id"]
    text = dump(made, {"x": "2.0% null"})
    assert "  x:  # 2.0% null" in text.splitlines()
    assert yaml.safe_load(text) == made
    kept = {(one.column, one.check) for one in read_rules(written(tmp_path, text))}
    assert {("x", "in_range"), ("kind", "isin"), ("id", "unique"), ("at", "not_null")} <= kept


def test_draft_of_a_key_that_was_not_unique_asks_for_no_uniqueness():
    assert "unique" not in draft(reference=profile(), types=TYPES, data=SPEC, unique=False)


def test_broken_rule_fails_a_warning_warns_and_one_not_counted_is_not_checked():
    rules = [rule("x", "not_null"), SchemaRule(column="x", check="isin", warns=True), rule("x", "ttest")]
    counts = [
        RuleCount(rule=rules[0], rows=10, failing=1),
        RuleCount(rule=rules[1], rows=10, failing=2),
        RuleCount(rule=rules[2], rows=10, reason="no query"),
        RuleCount(rule=rule("kind", "not_null"), rows=10, failing=0),
    ]
    checks = list(rule_checks(counts, file="schemas/m.yaml"))
    assert [(check.result, check.severity) for check in checks] == [
        ("fail", "block"),
        ("fail", "warn"),
        ("could_not_check", "block"),
        ("pass", "block"),
    ]
    assert "1 of 10 rows break this rule of schemas/m.yaml" in checks[0].statement
