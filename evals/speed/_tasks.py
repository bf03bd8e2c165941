"""What is timed, each in a process of its own; see `_measured`. Heavy imports stand inside the tasks: their cost is counted."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evals.speed import _duels
from evals.speed._measured import Cost, measured

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def nothing(given: dict[str, Any]) -> Cost:
    """An interpreter that does nothing: what every process costs."""
    return measured(dict)


def ours(given: dict[str, Any]) -> Cost:
    """Sample both windows through the data source, then ask the drift-detective; from file to verdict."""

    def task() -> dict[str, Any]:
        from tools.adapters.drift_local import LocalDriftDetective
        from tools.adapters.ibis_data import IbisData
        from tools.contracts.base import SCHEMA_VERSION
        from tools.contracts.peers import DriftRequest, Envelope, MonitoringConfig
        from tools.contracts.profile import DataSpec

        folder, features = Path(given["folder"]), tuple(given["columns"])
        text = tuple(name for name in features if name.startswith("text"))
        data = IbisData(folder)
        samples = []
        for name in ("reference", "current"):
            spec = DataSpec(
                source=f"{name}.parquet", event_time="at", target="y", features=features, text=text, key=("at",)
            )
            made = data.write_window(spec, None, NOW, folder / f"{name}-sample.parquet", given["sample"])
            samples.append(made)
        request = Envelope[DriftRequest](
            schema_version=SCHEMA_VERSION,
            run_id="speed",
            model_id="speed",
            model_version="1",
            data_window_digest=samples[1].digest,
            sent_at=NOW,
            sender="evals",
            payload=DriftRequest(
                model_id="speed",
                monitoring_config=MonitoringConfig(
                    reference_data=samples[0].path, current_data_window=samples[1].path, features=features, text=text
                ),
            ),
        )
        reply = LocalDriftDetective(lambda: NOW, html=False).detect(request, folder)
        found = reply.payload.drift_report.feature_drift
        return {
            "columns": len(found),
            "drifted": sum(f.severity == "drifted" for f in found),
            "sampled": [s.rows for s in samples],
        }

    return measured(task)


def evidently(given: dict[str, Any]) -> Cost:
    """Read both frames, then Evidently's DataDriftPreset as it comes; the page is not written."""
    import pandas as pd

    folder, columns = Path(given["folder"]), list(given["columns"])
    reference, current = (
        pd.read_parquet(folder / f"{name}.parquet", columns=columns) for name in ("reference", "current")
    )

    def task() -> dict[str, Any]:
        from evidently import Report
        from evidently.presets import DataDriftPreset

        found = Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]
        counted = next(m["value"] for m in found if m["metric_name"].startswith("DriftedColumnsCount"))
        return {"columns": len(found) - 1, "drifted": int(counted["count"])}

    return measured(task)


def prepare(given: dict[str, Any]) -> Cost:
    """A workspace with a champion on record; see `_shop`."""
    from evals.speed import _shop

    return measured(lambda: _shop.lay_out(Path(given["folder"]), given))


def judge(given: dict[str, Any]) -> Cost:
    """All of staleness, then all of data validation, as a run does both; MLflow, scoring and files are the real ones."""
    from dataclasses import replace

    from agent.bootstrap import bootstrap
    from agent.requests import request_from_flags
    from agent.services import assess_staleness, validate
    from agent.services.champion import find_champion
    from agent.state import Run

    app = bootstrap(environ={}, start=Path(given["folder"]))
    if app.quick_detective is not None:
        app = replace(app, deps=replace(app.deps, drift_detective=app.quick_detective))

    def task() -> dict[str, Any]:
        profile = app.deps.load_profile(given["model"])
        order = app.order("retrain", request_from_flags(profile.id, as_of=given["as_of"]))
        run = Run("speed", order, profile, "", find_champion(app.deps, profile))
        begun = datetime.now(UTC)
        report, _ = assess_staleness.measure(app.deps, run)
        between = datetime.now(UTC)
        checks = validate.validate(app.deps, run)["validation"]["checks"]
        unchecked = [f"{c['name']}: {c['statement']}" for c in checks if c["result"] == "could_not_check"]
        unmeasured = [s.statement for s in report.signals if s.outcome == "could_not_measure"]
        return {
            "verdict": report.verdict,
            "signals": len(report.signals),
            "checks": len(checks),
            "unmeasured": unmeasured,
            "unchecked": unchecked,
            "staleness_seconds": (between - begun) / timedelta(seconds=1),
            "effort": None if report.effort is None else report.effort.to_state(),
        }

    return measured(task)


TASKS: dict[str, Callable[[dict[str, Any]], Cost]] = {
    "nothing": nothing,
    "ours": ours,
    "evidently": evidently,
    "prepare": prepare,
    "judge": judge,
    **_duels.TASKS,
}

if __name__ == "__main__":
    print(json.dumps(asdict(TASKS[sys.argv[1]](json.loads(sys.argv[2])))))
