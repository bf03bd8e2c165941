"""`retrain check` as a person and a script meet it: one model, all models, and what could not be looked at."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.integration.shop import NOW, Shop

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(shop: Shop) -> Shop:
    """A champion that holds its baseline, one profile that cannot be read, and one whose model nobody registered."""
    shop.with_champion("steady", mode="observe")
    shop.profile("broken", mode="sometimes")
    shop.profile("unborn", mode="observe")
    return shop


def test_sweep_looks_at_all_it_can_and_its_code_is_the_gravest_failure(shop: Shop) -> None:
    result = shop.typed("check", "--all", "--json", "--as-of", NOW)

    rows = {row["modelId"]: row for row in result.json["models"]}
    assert (result.code, "Traceback" in result.err) == (2, False)
    assert result.json["models"][0]["modelId"] == "broken"
    assert rows["steady"]["staleness"]["signals"]
    assert (rows["broken"]["error"]["error"], rows["broken"]["error"]["exitCode"]) == ("BadInput", 2)
    assert rows["unborn"]["standing"] in ("could_not_measure", "failed")
    assert (result.json["totals"]["models"], result.json["totals"]["pages"]) == (3, 0)
    assert result.err.count("  · ") == 3
    assert "3 of 3" in result.err


def test_sweep_of_some_is_a_table_with_totals(shop: Shop) -> None:
    result = shop.typed("check", "--all", "--only", "stead", "--as-of", NOW, "-q")

    assert (result.code, result.err) == (0, "")
    assert "1 model in " in result.out
    assert "accuracy" in result.out


def test_check_says_what_to_do_first_and_leaves_nothing_behind(shop: Shop) -> None:
    result = shop.typed("check", "steady", "--as-of", NOW, "-q")

    assert (result.code, result.err) == (0, "")
    assert re.match(r"steady: [A-Z ]+\. To do: ", result.out.strip())
    assert not list((shop.folder / ".retraining" / "runs").glob("check-*"))


def test_report_is_a_page_of_the_columns_and_nothing_else_is_left(shop: Shop, tmp_path: Path) -> None:
    shop.profile("watched", registered="steady", mode="observe", drift="{}")
    try:
        result = shop.typed("check", "watched", "--as-of", NOW, "-q", "--report", str(tmp_path / "drift.html"))
    finally:
        (shop.folder / "profiles" / "watched.yaml").unlink()

    assert (result.code, result.err) == (0, "")
    assert str(tmp_path / "drift.html") in result.out
    page = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "<html" in page[:5_000].lower()
    assert "detection threshold is 0.5" in page
    assert not list((shop.folder / ".retraining" / "runs").glob("check-*"))


def test_report_that_was_not_made_is_said_and_not_written(shop: Shop, tmp_path: Path) -> None:
    result = shop.typed("check", "steady", "--as-of", NOW, "-q", "--report", str(tmp_path / "drift.html"))

    assert (result.code, list(tmp_path.iterdir())) == (6, [])
    assert "no drift report was made" in result.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param(["check"], 2, id="nothing named"),
        pytest.param(["check", "steady", "--all"], 2, id="both"),
        pytest.param(["check", "steady", "--only", "x"], 2, id="one model, a sweep's option"),
        pytest.param(["check", "--all", "--report", "x.html"], 2, id="a sweep, one model's option"),
        pytest.param(["check", "--all", "--only", "nobody"], 3, id="no such profile"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_error(shop: Shop, arguments: list[str], code: int) -> None:
    result = shop.typed(*arguments, "--json")

    assert (result.code, result.json["exitCode"], result.err.count("error: ")) == (code, code, 1)


def test_interrupted_sweep_ends_cleanly(shop: Shop) -> None:
    process = shop.start("check", "--all", "--as-of", NOW, "--parallel", "1")
    assert process.stderr is not None
    assert "1 of 3" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert not list((shop.folder / ".retraining" / "runs").glob("check-*"))


def test_a_sweeps_json_is_one_document(shop: Shop) -> None:
    result = shop.typed("check", "--all", "--only", "broken", "--json", "-q")

    assert json.loads(result.out)["totals"]["failed"] == 1
