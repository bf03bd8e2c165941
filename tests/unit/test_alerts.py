"""A page takes harm done; a ticket takes a moved world or silence; everything else can wait for the digest."""

from typing import Any

import pytest

from tools.alerts import Alert, Level, severity
from tools.contracts.evidence import Signal, StalenessReport


def signal(rule: Any, outcome: Any = "bad", subject: str = "model", **more: Any) -> Signal:
    return Signal(rule=rule, subject=subject, outcome=outcome, statement=f"{rule} of {subject}: {outcome}.", **more)


def report(*signals: Signal) -> StalenessReport:
    return StalenessReport(verdict="stale", signals=signals, recommendation="retrain", statement="It is stale.")


@pytest.mark.parametrize(
    ("found", "level"),
    [
        pytest.param(signal("performance", subject="accuracy"), "page", id="performance lost"),
        pytest.param(signal("drift", subject="price", kind="null_share"), "page", id="nulls"),
        pytest.param(signal("drift", subject="price", kind="vanished"), "page", id="column gone"),
        pytest.param(signal("drift", subject="price", kind="unit"), "page", id="unit swapped"),
        pytest.param(signal("drift", subject="data set"), "ticket", id="data set drifted"),
        pytest.param(signal("prediction_drift", subject="predictions"), "ticket", id="predictions drifted"),
        pytest.param(signal("estimated_performance", reliable=True), "ticket", id="reliable estimate fell"),
        pytest.param(signal("label_delay"), "ticket", id="labels stopped"),
        pytest.param(signal("freshness"), "ticket", id="rows stopped"),
        pytest.param(signal("estimated_performance", reliable=False), "digest", id="unreliable estimate fell"),
        pytest.param(signal("estimated_performance"), "digest", id="estimate of unknown reliability fell"),
        pytest.param(signal("drift", subject="price", kind="shift"), "digest", id="one column moved"),
        pytest.param(signal("label_drift", subject="price"), "digest", id="labels drifted"),
        pytest.param(signal("age"), "digest", id="old"),
    ],
)
def test_level_of_one_bad_signal(found: Signal, level: Level) -> None:
    assert severity(report(found)) == Alert(level=level, reasons=(found.statement,))


@pytest.mark.parametrize("outcome", ["ok", "could_not_tell", "could_not_measure"])
@pytest.mark.parametrize("rule", ["performance", "estimated_performance", "drift", "label_delay", "freshness"])
def test_nothing_but_measured_bad_wakes_anybody(rule: str, outcome: str) -> None:
    assert severity(report(signal(rule, outcome, reliable=True, kind="null_share"))) == Alert(level="none")


def test_worst_signal_decides_and_only_its_like_are_named() -> None:
    drift, loss, nulls = (
        signal("drift", subject="data set"),
        signal("performance", subject="accuracy"),
        signal("drift", subject="price", kind="null_share"),
    )

    assert severity(report(drift, loss, nulls)).reasons == (loss.statement, nulls.statement)
