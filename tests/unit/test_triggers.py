"""Who may go on, and why not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tools.contracts.evidence import StalenessReport
from tools.contracts.profile import TriggersSpec
from tools.triggers import judge_trigger

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Case:
    trigger: Any
    verdict: Any
    code: str
    recommendation: Any = "keep_watching"
    last: datetime | None = None

    @property
    def id(self) -> str:
        return f"{self.trigger}-{self.verdict}-{self.recommendation}-{(self.last and 'lately') or ''}-{self.code}"


LATELY, LONG_AGO = NOW - DAY, NOW - 7 * DAY
CASES = [
    *(Case(t, v, "insists") for t in ("manual", "scheduled") for v in ("fresh", "stale", "could_not_measure")),
    *(Case(t, "stale", "insists", "fix_data", LATELY) for t in ("manual", "scheduled")),
    Case("manual", "stale", "insists", "roll_back"),
    Case("scheduled", "stale", "roll_back_instead", "roll_back"),
    *(Case(t, "stale", "stale", "retrain") for t in ("drift", "performance")),
    *(Case(t, "stale", "stale", "retrain", LONG_AGO) for t in ("drift", "performance")),
    *(Case(t, "fresh", "fresh") for t in ("drift", "performance")),
    *(Case(t, "could_not_measure", "could_not_measure") for t in ("drift", "performance")),
    *(Case(t, "stale", "cool_down", "retrain", LATELY) for t in ("drift", "performance")),
    *(Case(t, "stale", "fix_data", "fix_data") for t in ("drift", "performance")),
    *(Case(t, "stale", "fix_data", "fix_data", LATELY) for t in ("drift", "performance")),
    *(Case(t, "stale", "roll_back_instead", "roll_back", LATELY) for t in ("drift", "performance")),
    Case("drift", "stale", "cool_down", "retrain", NOW + DAY),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_trigger_and_report_lead_to_one_code(case: Case):
    report = StalenessReport(
        verdict=case.verdict, signals=(), recommendation=case.recommendation, statement="As found."
    )
    found = judge_trigger(
        trigger=case.trigger, report=report, triggers=TriggersSpec(cool_down=7 * DAY), last_finished=case.last, now=NOW
    )
    assert (found.code, found.proceed, found.insists) == (
        case.code,
        case.code in ("insists", "stale"),
        case.trigger in ("manual", "scheduled"),
    )
    assert found.statement


def test_without_a_cool_down_a_run_that_just_ended_holds_nobody_back():
    report = StalenessReport(verdict="stale", signals=(), recommendation="retrain", statement="Lost.")
    found = judge_trigger(trigger="drift", report=report, triggers=TriggersSpec(), last_finished=NOW, now=NOW)
    assert (found.code, found.proceed) == ("stale", True)
