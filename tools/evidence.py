"""Which numbered facts does a decision rest on?

Everything a rationale may cite is one of these items. Ids follow the order of collection, so the same reports give the
same ids. What is bad, undecided or unmeasured is kept item by item; passing checks are folded into one item when they
are many.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from tools.contracts.base import Contract
from tools.contracts.comparison import ComparisonResult, MetricComparison
from tools.contracts.evidence import Check, EvidenceItem, Signal, StalenessReport, ValidationReport
from tools.contracts.when import WhenVerdict

FOLD_ABOVE: Final = 12
"""More passing checks, good signals or holding slices than this become one item."""


def collect(
    *,
    staleness: StalenessReport | None = None,
    validation: ValidationReport | None = None,
    comparison: ComparisonResult | None = None,
) -> tuple[EvidenceItem, ...]:
    """All evidence, numbered E1, E2, … with unique keys (a repeated key gets `#2`, `#3`, …)."""
    found = [*_of_staleness(staleness), *_of_validation(validation), *_of_comparison(comparison)]
    seen: dict[str, int] = {}
    items: list[EvidenceItem] = []
    for number, item in enumerate(found, start=1):
        seen[item.key] = seen.get(item.key, 0) + 1
        key = item.key if seen[item.key] == 1 else f"{item.key}#{seen[item.key]}"
        items.append(item.model_copy(update={"id": f"E{number}", "key": key}))
    return tuple(items)


def digest(content: Contract | Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON: sorted keys, no spaces, inside names.

    Raises:
        ValueError: A NaN or an infinity, which JSON does not have.
    """
    plain = content.to_state() if isinstance(content, Contract) else dict(content)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_staleness(report: StalenessReport | None) -> list[EvidenceItem]:
    if report is None:
        return []
    good = [signal for signal in report.signals if signal.outcome == "ok"]
    fold = len(good) > FOLD_ABOVE
    items = [
        EvidenceItem(id="", key="staleness/verdict", outcome=report.verdict, statement=report.statement),
        *_of_when(report.when),
        *(_signal(signal) for signal in report.signals if not fold or signal.outcome != "ok"),
    ]
    if fold:
        items.append(_folded("staleness/ok", "ok", len(good), "staleness signals are good"))
    return items


def _of_when(verdict: WhenVerdict | None) -> list[EvidenceItem]:
    """What a retraining is worth, and each number behind it."""
    if verdict is None:
        return []
    head = EvidenceItem(id="", key="when/verdict", outcome=verdict.action, statement=verdict.statement)
    numbers = [
        EvidenceItem(
            id="",
            key=f"when/{one.name}",
            outcome="ok",
            value=one.value,
            low=one.low,
            high=one.high,
            n=one.n,
            unit=one.unit,
            statement=one.statement,
        )
        for one in verdict.numbers
    ]
    return [head, *numbers]


def _signal(signal: Signal) -> EvidenceItem:
    return EvidenceItem(
        id="",
        key=f"staleness/{signal.rule}/{signal.subject}",
        outcome=signal.outcome,
        value=signal.value,
        low=signal.low,
        high=signal.high,
        threshold=signal.threshold,
        n=signal.n,
        unit=signal.unit,
        statement=_told(signal),
    )


def _told(signal: Signal) -> str:
    """The signal's sentence, and what an item has no field for where the sentence leaves it out."""
    more: list[str] = []
    if signal.n_reference is not None and f"{signal.n_reference:,}" not in signal.statement:
        more.append(f"compared with {signal.n_reference:,} rows")
    if signal.since is not None and f"{signal.since:%Y-%m-%d}" not in signal.statement:
        more.append(f"since {signal.since:%Y-%m-%d}")
    if signal.weight is not None and signal.outcome != "ok":
        more.append(f"{signal.weight:.0%} of the champion's importance")
    if not more:
        return signal.statement
    # Within the sentence: a bracket behind the full stop would be a sentence of its own.
    return f"{signal.statement.removesuffix('.')} ({'; '.join(more)})."


def _of_validation(report: ValidationReport | None) -> list[EvidenceItem]:
    if report is None:
        return []
    passed = [check for check in report.checks if check.result == "pass"]
    fold = len(passed) > FOLD_ABOVE
    items = [
        EvidenceItem(id="", key="validation/verdict", outcome=report.verdict, statement=report.statement),
        *(_check(check) for check in report.checks if not fold or check.result != "pass"),
    ]
    if fold:
        items.append(_folded("validation/passed", "pass", len(passed), "validation checks passed"))
    return items


def _beside(result: ComparisonResult) -> list[EvidenceItem]:
    """What no verdict rests on: how often the models differ, and a search that found nobody harmed."""
    items: list[EvidenceItem] = []
    if result.agreement is not None:
        items.append(
            EvidenceItem(
                id="",
                key="comparison/agreement",
                outcome="ok",
                value=result.agreement.differing,
                n=result.agreement.n,
                statement=result.agreement.statement,
            )
        )
    if result.groups_searched and not any(item.criterion.role == "found_slice" for item in result.metrics):
        said = f"None of {result.groups_searched:,} groups of rows is surely worse off by more than the slice margin."
        items.append(EvidenceItem(id="", key="comparison/search", outcome="ok", n=result.holdout_rows, statement=said))
    return items


def _check(check: Check) -> EvidenceItem:
    return EvidenceItem(
        id="",
        key=f"validation/{check.name}/{check.subject}",
        outcome=check.result if check.severity == "block" else f"{check.result} (warning)",
        value=check.value,
        threshold=check.threshold,
        n=check.n,
        statement=check.statement,
    )


def _of_comparison(result: ComparisonResult | None) -> list[EvidenceItem]:
    if result is None:
        return []
    holding = [item for item in result.metrics if _is_holding_slice(item)]
    fold = len(holding) > FOLD_ABOVE
    items = [_metric(item) for item in result.metrics if not (fold and _is_holding_slice(item))]
    if fold:
        items.append(_folded("comparison/slices", "non_inferior", len(holding), "slices hold"))
    items.append(_contamination(result))
    items += _beside(result)
    if result.budget is not None and result.budget.look > 1 and not result.budget.exhausted:
        spent = result.budget
        items.append(
            EvidenceItem(
                id="",
                key="comparison/error_budget",
                outcome="ok",
                value=spent.alpha,
                threshold=spent.total,
                statement=spent.statement,
            )
        )
    sentences = dict(zip(result.doubts, result.doubt_statements, strict=False))
    items += [
        EvidenceItem(
            id="", key=f"comparison/doubt/{code}", outcome="doubt", statement=sentences.get(code, f"Doubt: {code}.")
        )
        for code in dict.fromkeys(result.doubts)
    ]
    items += [
        EvidenceItem(id="", key="comparison/failure", outcome="could_not_measure", statement=text)
        for text in result.failures
    ]
    return items


def _is_holding_slice(item: MetricComparison) -> bool:
    return item.criterion.role == "slice" and item.verdict in ("improved", "non_inferior")


def _metric(item: MetricComparison) -> EvidenceItem:
    criterion = item.criterion
    return EvidenceItem(
        id="",
        key=item.key,
        outcome=item.verdict,
        value=item.change,
        low=item.low,
        high=item.high,
        threshold=criterion.bar,
        n=item.n,
        unit=f"{criterion.metric}, {criterion.unit}",
        statement=item.statement,
    )


def _contamination(result: ComparisonResult) -> EvidenceItem:
    found = result.contamination
    worst = "overlaps" if "overlaps" in (found.candidate, found.champion) else "clean"
    if "could_not_check" in (found.candidate, found.champion):
        worst = "could_not_check"
    dropped = [
        f"{count:,} rows of the {who}'s training"
        for who, count in (("candidate", found.candidate_rows), ("champion", found.champion_rows))
        if count
    ]
    told = {"clean": "no overlap", "overlaps": "overlap", "could_not_check": "could not be checked"}
    tail = f" Dropped: {' and '.join(dropped)}." if dropped else ""
    return EvidenceItem(
        id="",
        key="comparison/contamination",
        outcome=worst,
        value=float((found.candidate_rows or 0) + (found.champion_rows or 0)) if worst != "could_not_check" else None,
        n=result.holdout_rows,
        unit="rows",
        statement=(
            f"Holdout of {result.holdout_rows:,} rows against training rows: candidate {told[found.candidate]}, "
            f"champion {told[found.champion]}.{tail}"
        ),
    )


def _folded(key: str, outcome: str, count: int, what: str) -> EvidenceItem:
    return EvidenceItem(id="", key=key, outcome=outcome, value=float(count), unit="count", statement=f"{count} {what}.")
