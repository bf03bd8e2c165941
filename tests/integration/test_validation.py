"""`retrain validation` as a person and a script meet it: bounds, a drafted schema, a damaged table."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.integration.shop import NOW, Shop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(shop: Shop) -> Shop:
    shop.with_champion("steady", mode="observe")
    return shop


def test_schema_is_drafted_edited_and_held_against_the_window(shop: Shop) -> None:
    drafted = shop.typed("validation", "init", "steady", "-q")
    assert (drafted.code, drafted.err) == (0, "")
    file = shop.folder / "schemas" / "steady.yaml"
    schema = yaml.safe_load(file.read_text())
    assert set(schema["columns"]) >= {"a", "b", "c", "y"}

    again = shop.typed("validation", "init", "steady", "-q")
    assert again.code == 4
    assert "--force" in again.err
    assert "Traceback" not in again.err

    profile = shop.folder / "profiles" / "steady.yaml"
    profile.write_text(profile.read_text() + "validation: {schema_file: schemas/steady.yaml}\n")
    shown = shop.typed("validation", "show", "steady", "--json")
    assert {rule["column"] for rule in shown.json["rules"]} >= {"a", "b", "c"}
    before = shop.typed("validation", "check", "steady", "--as-of", NOW, "--json", "-q")
    assert not [c for c in before.json["checks"] if c["name"].startswith("schema_file") and c["result"] == "fail"]

    schema["columns"]["a"]["checks"] = {"less_than": -1_000}
    file.write_text(yaml.safe_dump(schema))
    after = shop.typed("validation", "check", "steady", "--as-of", NOW, "--json", "-q", "--exit-code")
    broken = [c for c in after.json["checks"] if c["result"] == "fail" and "-1000" in c["statement"].replace(",", "")]
    assert after.code == 10
    assert [c["subject"] for c in broken] == ["a: less_than"]


def test_damaged_table_is_told_with_counts_and_without_values(shop: Shop, tmp_path: Path) -> None:
    rows = pd.read_parquet(shop.folder / "rows.parquet")
    late = rows["at"] >= rows["at"].max() - pd.Timedelta(days=40)
    rows.loc[late & (rows.index % 2 == 0), "b"] = None
    rows.to_parquet(tmp_path / "damaged.parquet", index=False)
    shop.profile("damaged", registered="steady", mode="observe", source=str(tmp_path / "damaged.parquet"))
    result = shop.typed("validation", "check", "damaged", "--as-of", NOW, "-q")
    (shop.folder / "profiles" / "damaged.yaml").unlink()

    assert (result.code, result.err) == (0, "")
    assert result.out.strip().startswith("damaged: fail.")
    assert "b: " in result.out
    assert "null" in result.out


def test_model_that_nobody_knows_is_one_clear_error(shop: Shop) -> None:
    for command in ("init", "check", "show"):
        result = shop.typed("validation", command, "nobody")
        assert result.code == 3
        assert "nobody" in result.err
        assert "Traceback" not in result.err
