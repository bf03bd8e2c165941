"""A real run's report: a page on disk and in MLflow, made again by a command."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration.shop import NOW, Shop

pytestmark = pytest.mark.reliability


def test_real_run_leaves_its_report_and_the_command_makes_it_again(shop: Shop, tmp_path: Path) -> None:
    name = shop.with_champion("reported", mode="observe")
    output = shop.typed("run", name, "--as-of", NOW, "--json", "-q").json
    run_id, page = output["runId"], Path(output["report"])

    client = MlflowClient(f"sqlite:///{shop.folder / 'mlflow.db'}")
    (tracked,) = client.search_runs(
        [one.experiment_id for one in client.search_experiments()], f"tags.`retraining.run_id` = '{run_id}'"
    )
    logged = {item.path for item in client.list_artifacts(tracked.info.run_id, "decision")}
    kept = client.download_artifacts(tracked.info.run_id, "decision/report.html", str(tmp_path))
    assert {"intervals.svg", "slices.svg", "calibration.svg", "error_over_time.svg", "report.html"} <= {
        path.partition("/")[2] for path in logged
    }
    assert Path(kept).read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert "Deploy the candidate" in page.read_text(encoding="utf-8")
    assert str(page) in shop.typed("runs", "show", run_id).out

    page.unlink()
    again = shop.typed("runs", "report", run_id, "--json")
    elsewhere = shop.typed("runs", "report", run_id, "--out", str(tmp_path / "mine.html"))
    assert (again.code, json.loads(again.out)["report"]) == (0, str(page)), again.err
    assert page.exists()
    assert elsewhere.code == 0, elsewhere.err
    assert "Mode is observe" in (tmp_path / "mine.html").read_text(encoding="utf-8")

    unknown = shop.typed("runs", "report", "r-nobody")
    nowhere = shop.typed("runs", "report", run_id, "--out", str(tmp_path / "no" / "such" / "page.html"))
    assert (unknown.code, nowhere.code) == (3, 3)
    assert "r-nobody" in unknown.err
    assert "no folder" in nowhere.err
    assert "Traceback" not in unknown.err + nowhere.err
