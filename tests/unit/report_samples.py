"""Sheets of a decision report, to draw."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from tools.contracts.comparison import (
    Agreement,
    ComparisonResult,
    Contamination,
    Criterion,
    ErrorBudget,
    MetricComparison,
    Role,
    Verdict,
)
from tools.contracts.decision import PolicyResult, Rationale, Reason
from tools.contracts.evidence import Check, EvidenceItem, ValidationReport
from tools.paired_rows import PairedRows
from tools.report_figures import figures
from tools.report_parts import Sheet

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def metric(
    verdict: Verdict,
    name: str = "accuracy",
    *,
    role: Role = "primary",
    value: str | None = None,
    change: float = 0.02,
    low: float = 0.01,
    high: float = 0.05,
    statement: str = "as measured",
    **more: Any,
) -> MetricComparison:
    measured: dict[str, Any] = (
        {} if verdict == "no_data" else {"baseline": 0.8, "candidate": 0.82, "change": change, "low": low, "high": high}
    )
    rule = Criterion(
        metric=name,
        role=role,
        direction="higher",
        min_improvement=0.01 if role == "primary" else 0.0,
        margin=0.0 if role == "primary" else 0.02,
        slice_column=None if value is None else "segment",
        slice_value=value,
    )
    return MetricComparison(criterion=rule, verdict=verdict, n=500, statement=statement, **measured, **more)


def comparison(*metrics: MetricComparison, **changes: Any) -> ComparisonResult:
    return ComparisonResult(
        metrics=metrics,
        holdout_rows=500,
        holdout_digest="d" * 64,
        contamination=Contamination(candidate="clean", champion="overlaps", candidate_rows=0, champion_rows=3),
        **changes,
    )


def sheet(word: str = "plain", **changes: Any) -> Sheet:
    """A whole sheet; `word` stands wherever a text comes from outside."""
    stated = np.linspace(0.02, 0.98, 600)
    y = (np.arange(600) % 2).astype(int)
    side = {"prediction": y, "proba:0": 1 - stated, "proba:1": stated}
    rows = PairedRows.from_columns(task="classification", y=y, baseline=side, candidate=side)
    drawn = figures(
        rows=rows,
        seconds=1.7e9 + np.linspace(0, 20 * 86_400, 600),
        positive_label=None,
        holdout_digest="d" * 64,
    )
    reason = Reason(code="primary_improved", sentence=f"reason {word}", evidence=("comparison/accuracy",))
    whole: dict[str, Any] = {
        "model_id": word,
        "registered_model": word,
        "run_id": "r1",
        "kind": "retrain",
        "mode": "act",
        "made_at": NOW,
        "tracking_run_id": "t1",
        "profile_digest": "p" * 64,
        "champion": word,
        "candidate": f"version {word}",
        "decision": "deploy",
        "policy": PolicyResult(decision="deploy", certainty="clear", reasons=(reason,), policy_version="3"),
        "evidence": (EvidenceItem(id="E1", key=f"k/{word}", outcome="improved", statement=f"statement {word}"),),
        "rationale": Rationale(
            text=f"Because {word} [E1].",
            written_by="template",
            prompt_name="template_rationale",
            prompt_version="1",
            prompt_hash="h",
        ),
        "comparison": comparison(
            metric("improved", statement=f"said {word}"),
            metric("no_data", "log_loss", role="guardrail", statement=f"log_loss: {word}."),
            metric("regressed", role="slice", value=word, change=-0.1, low=-0.2, high=-0.03),
            metric("regressed", role="found_slice", value=word, change=-0.1, low=-0.2, high=-0.03),
            agreement=Agreement(differing=0.1, mended=3, broken=2, n=500, statement=f"agreement {word}"),
            groups_searched=12,
            doubts=("peer_disagrees",),
            doubt_statements=(f"doubt {word}",),
            failures=(f"failure {word}",),
            budget=ErrorBudget(
                look=2, most=10, alpha=0.01, spent=0.02, total=0.05, exhausted=False, statement=f"budget {word}"
            ),
        ),
        "figures": drawn,
        "validation": ValidationReport(
            verdict="fail",
            statement=f"validation {word}",
            checks=(Check(name="nulls", subject=word, result="fail", statement=f"nulls {word}"),),
        ),
        "notes": (f"note {word}",),
        "figures_note": f"figures {word}",
        "trigger_kind": word,
    }
    return Sheet(**(whole | changes))
