"""May this run go on, given why it was started and what was found out about the champion?

`manual` and `scheduled` insist: they proceed whatever the report says, except that a scheduled run asks a person when a
roll-back is the better answer (a manual run has a person behind it already). `drift` and `performance` are claims,
checked again: they proceed only when the report says `stale`, and neither during the cool-down nor on broken data.
"""

from datetime import datetime, timedelta
from typing import Final

from tools.contracts.evidence import StalenessReport, TriggerVerdict
from tools.contracts.profile import TriggersSpec
from tools.contracts.request import TriggerKind

INSISTING: Final[frozenset[TriggerKind]] = frozenset({"manual", "scheduled"})


def judge_trigger(
    *,
    trigger: TriggerKind,
    report: StalenessReport,
    triggers: TriggersSpec,
    last_finished: datetime | None,
    now: datetime,
) -> TriggerVerdict:
    """The first rule that applies, in this order; `code` names it.

    `roll_back_instead` (every trigger but manual; the graph asks a person) · `insists` · `fix_data` · `cool_down` ·
    `not_worth_it` (stale, and a retraining now would cost more than it saves: `tools.when`) · `stale` (proceeds) ·
    `worth_it` (no rule found it stale, yet by its history of losses a retraining is worth its cost; proceeds) ·
    `could_not_measure` · `fresh`.

    Args:
        trigger: Why the run was started.
        report: What was found out about the champion.
        triggers: The profile's rules; only the cool-down is read.
        last_finished: When the model's last run ended; None if there was none.
        now: Aware.
    """
    insists = trigger in INSISTING
    # Before the cool-down: a bad promotion shows itself within it.
    if report.recommendation == "roll_back" and trigger != "manual":
        return _verdict(False, insists, "roll_back_instead", f"Rolling back is the better answer. {report.statement}")
    if insists:
        return _verdict(True, insists, "insists", f"A {trigger} run goes on whatever was found. {report.statement}")
    if report.recommendation == "fix_data":
        return _verdict(False, insists, "fix_data", f"The data want mending before any training. {_why_fix(report)}")
    left = _cool_down_left(triggers.cool_down, last_finished, now)
    if left > timedelta(0):
        text = (
            f"The last run finished at {last_finished:%Y-%m-%d %H:%M} UTC; the cool-down lasts another {_short(left)}."
        )
        return _verdict(False, insists, "cool_down", text)
    vetoed = report.when is not None and report.when.basis != "schedule" and report.when.action != "retrain"
    if report.verdict == "stale" and report.when is not None and vetoed:
        return _verdict(False, insists, "not_worth_it", report.when.statement)
    if report.verdict == "stale":
        return _verdict(True, insists, "stale", f"The {trigger} trigger is confirmed. {report.statement}")
    if report.verdict == "fresh" and report.when is not None and report.recommendation == "retrain":
        return _verdict(True, insists, "worth_it", report.when.statement)
    return _verdict(False, insists, report.verdict, f"The {trigger} trigger is not confirmed. {report.statement}")


def _verdict(proceed: bool, insists: bool, code: str, statement: str) -> TriggerVerdict:
    return TriggerVerdict(proceed=proceed, insists=insists, code=code, statement=statement)


def _cool_down_left(cool_down: timedelta, last_finished: datetime | None, now: datetime) -> timedelta:
    if last_finished is None:
        return timedelta(0)
    # A clock that went backwards must not lengthen the cool-down.
    return cool_down - max(now - last_finished, timedelta(0))


def _why_fix(report: StalenessReport) -> str:
    told = [s for s in report.signals if s.rule in ("freshness", "drift", "label_delay")]
    why = [s.statement for s in told if s.outcome == "bad" or (s.rule == "freshness" and s.outcome != "ok")]
    return " ".join(why) or report.statement


def _short(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
