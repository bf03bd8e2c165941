"""What does a decision report draw of a comparison? The sheet it is told from, and HTML with pictures, as text.

Every text from outside is escaped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tools import report_plots as plots
from tools.contracts.comparison import ComparisonResult, MetricComparison
from tools.contracts.decision import PolicyResult, Rationale
from tools.contracts.evidence import (
    EvidenceItem,
    PreparedData,
    StalenessReport,
    TriggerVerdict,
    ValidationReport,
)
from tools.contracts.explanation import Brief
from tools.contracts.figures import ReportFigures
from tools.contracts.rollout import RolloutPlan, RolloutStatus
from tools.contracts.run import Review
from tools.report_figures import whole, worst_first
from tools.report_plots import VERDICT_WORDS, amount, safe

MOST_SLICES: Final = 30
_WIDE, _NARROW = 420.0, 300.0


@dataclass(frozen=True)
class Sheet:
    """All that a report tells. Absent means that the run did not come to it."""

    model_id: str
    registered_model: str
    run_id: str
    kind: str
    mode: str
    made_at: datetime
    tracking_run_id: str
    profile_digest: str
    counted: str = "rows"
    """What a metric's `n` counts: `rows`, or `groups` of a ranking."""
    champion: str | None = None
    candidate: str | None = None
    decision: str | None = None
    decided_by: str = "policy"
    policy: PolicyResult | None = None
    input_digest: str | None = None
    evidence: Sequence[EvidenceItem] = ()
    rationale: Rationale | None = None
    plan: RolloutPlan | None = None
    comparison: ComparisonResult | None = None
    figures: ReportFigures | None = None
    figures_note: str | None = None
    """Why there are no figures, where there could be."""
    data: PreparedData | None = None
    validation: ValidationReport | None = None
    staleness: StalenessReport | None = None
    trigger: TriggerVerdict | None = None
    trigger_kind: str = ""
    rollout: RolloutStatus | None = None
    review: Review | None = None
    """The newest question to a person."""
    brief: Brief | None = None
    """What that person needs to know; absent where nobody is asked."""
    notes: Sequence[str] = ()


def section(title: str, body: str, lead: str = "") -> str:
    """One part of the page; nothing where it has nothing to say."""
    intro = f'<p class="lead">{safe(lead)}</p>' if lead else ""
    return f"<section><h2>{safe(title)}</h2>{intro}{body}</section>" if body else ""


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already; on a phone each row becomes a block with its headers in it."""
    head = "".join(f"<th>{safe(name)}</th>" for name in headers)
    body = "".join(
        "<tr>" + "".join(f'<td data-h="{safe(h)}">{cell}</td>' for h, cell in zip(headers, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def facts(rows: Iterable[tuple[str, str | None]]) -> str:
    """Name and text, one below the other; what is absent is left out."""
    told = "".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in rows if value is not None)
    return f"<dl>{told}</dl>" if told else ""


def listed(texts: Iterable[str]) -> str:
    told = "".join(f"<li>{safe(one)}</li>" for one in texts)
    return f"<ul>{told}</ul>" if told else ""


def badge(word: str, kind: str) -> str:
    return f'<span class="badge {kind}">{safe(word)}</span>'


def both(draw: Iterable[tuple[float, float, str, str]]) -> str:
    """The same picture for a desk and for a phone: (width, height, body, label) of each."""
    kinds = ("wide", "narrow")
    return "".join(plots.inline(w, h, body, label, kind) for kind, (w, h, body, label) in zip(kinds, draw, strict=True))


# --- metrics and slices --------------------------------------------------------------------------------------------


def metrics(result: ComparisonResult, counted: str) -> str:
    """Primary and guardrails, each on its own scale."""
    return "".join(_metric(item, None, counted) for item in whole(result))


def slices(result: ComparisonResult, counted: str) -> str:
    """Declared and found slices on one scale, worst first; how many were searched."""
    items = worst_first(result)
    shown, searched = items[:MOST_SLICES], result.groups_searched
    scale = plots.span(shown) if shown else None
    rest = len(items) - len(shown)
    tail = f"<p>{rest} more slices, none of them worse than the last one shown.</p>" if rest else ""
    if searched is not None:
        found = sum(item.criterion.role == "found_slice" for item in items)
        tail += (
            f"<p>{searched:,} groups that nobody declared were searched for harm: "
            f"{found if found else 'none'} {'is' if found <= 1 else 'are'} surely worse off.</p>"
        )
    return "".join(_metric(item, scale, counted) for item in shown) + tail


_ROLES: Final = {
    "primary": "primary metric",
    "guardrail": "guardrail",
    "slice": "declared slice",
    "found_slice": "found by the search",
}


def _metric(item: MetricComparison, scale: tuple[float, float] | None, counted: str) -> str:
    rule = item.criterion
    if item.change is None or item.low is None or item.high is None:
        drawn, change = f'<p class="said">{safe(item.statement)}</p>', "–"
    else:
        label = plots.interval_label(item)
        drawn = both((w, plots.ROW_HEIGHT, plots.interval(item, w, scale), label) for w in (_WIDE, _NARROW))
        change = f"{amount(item.change, rule)} [{amount(item.low, rule)}, {amount(item.high, rule)}]"
    sides = (("champion", item.baseline), ("candidate", item.candidate))
    values = "".join(f"<span>{side} {_number(value)}</span>" for side, value in sides if value is not None)
    more = ""
    if item.rows_needed is not None:
        by = "" if item.tells_by is None else f", there by {item.tells_by:%Y-%m-%d} at this rate"
        more = f'<p class="said">About {item.rows_needed:,} {counted} would tell{by}.</p>'
    direction = "higher is better" if rule.direction == "higher" else "lower is better"
    return (
        f'<div class="metric"><div><b title="{safe(rule.about)}">{safe(plots.shortened(rule.about, 160))}</b><br>'
        f"<small>{_ROLES[rule.role]}, {direction}, "
        f"{item.n:,} {counted}</small><br>{badge(VERDICT_WORDS[item.verdict], item.verdict)}</div>"
        f'<div class="drawn">{drawn}</div>'
        f'<div class="numbers">{values}<span>change {safe(change)}</span><span>{safe(plots.bar_words(rule))}</span>'
        f"{more}</div></div>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


# --- figures -------------------------------------------------------------------------------------------------------


def agreement(result: ComparisonResult) -> str:
    """How often the two models say something else."""
    found = result.agreement
    return "" if found is None else f"<p>{safe(found.statement)}</p>"


def calibration(figures: ReportFigures | None) -> str:
    """Reliability curves and their counts."""
    found = None if figures is None else figures.calibration
    if found is None:
        return ""
    label = "Reliability curves: " + "; ".join(
        f"{curve.side}: " + ", ".join(f"{one.stated:.2f} came true {one.observed:.2f}" for one in curve.bins)
        for curve in found.curves
    )
    drawn = both((w, *plots.calibration(found, w), label) for w in (_WIDE, _NARROW))
    rows = [
        [curve.side, f"{one.stated:.4g}", f"{one.observed:.4g} [{one.low:.4g}, {one.high:.4g}]", f"{one.n:,}"]
        for curve in found.curves
        for one in curve.bins
    ]
    left = [
        f"{c.side}: {c.left_out:,} rows left out, their probability or label is missing."
        for c in found.curves
        if c.left_out
    ]
    numbers = table(["model", "stated", "came true", "rows"], rows)
    return f"{drawn}{listed(left)}<details><summary>The numbers</summary>{numbers}</details>"


def error_over_time(figures: ReportFigures | None) -> str:
    """Both models' error in stretches of time."""
    found = None if figures is None else figures.error_over_time
    if found is None:
        return ""
    told = [one for one in found.bins if one.champion is not None and one.candidate is not None]
    gaps = [(one.candidate or 0.0) - (one.champion or 0.0) for one in told]
    lower, higher = sum(gap < 0 for gap in gaps), sum(gap > 0 for gap in gaps)
    label = (
        f"In {len(told)} stretches of time the candidate's error is lower in {lower}, higher in {higher} and the same in "
        f"{len(told) - lower - higher}"
    )
    drawn = both((w, *plots.error_over_time(found, w), label) for w in (820.0, 330.0))
    undated = f"<p>{found.undated:,} rows have no event time and are in no stretch.</p>" if found.undated else ""
    rows = [
        [f"{one.start:%Y-%m-%d %H:%M}", _number(one.champion), _number(one.candidate), f"{one.n:,} of {one.rows:,}"]
        for one in found.bins
    ]
    numbers = table(["from (UTC)", "champion", "candidate", "rows judged"], rows)
    return f"{drawn}<p>{safe(label)}.</p>{undated}<details><summary>The numbers</summary>{numbers}</details>"
