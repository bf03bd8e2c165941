"""What does a decision report tell in words: rows, data, staleness, doubts, rationale, evidence, provenance?

HTML of contracts, as text; every text from outside is escaped.
"""

import re
from collections.abc import Sequence
from typing import Final

from tools.contracts.decision import Rationale
from tools.contracts.evidence import EvidenceItem, ValidationReport
from tools.contracts.explanation import Brief
from tools.report_parts import Sheet, badge, facts, listed, table
from tools.report_plots import safe

OUTCOMES: Final = {
    "ok": "good",
    "pass": "good",
    "bad": "bad",
    "fail": "bad",
    "could_not_tell": "open",
    "could_not_measure": "none",
    "could_not_check": "none",
}


def holdout(sheet: Sheet) -> str:
    """What rows the verdicts rest on, and what looking at them cost."""
    result, rows = sheet.comparison, list[tuple[str, str | None]]()
    if result is not None:
        rows.append(("rows judged", f"{result.holdout_rows:,}"))
    for number, fold in enumerate(sheet.data.folds if sheet.data else (), start=1):
        name = "holdout" if sheet.data and len(sheet.data.folds) == 1 else f"holdout {number}"
        held, trained = fold.holdout, fold.training
        if held.start is not None and held.end is not None:
            rows.append((name, f"{held.start:%Y-%m-%d %H:%M} to {held.end:%Y-%m-%d %H:%M} UTC, {held.rows:,} rows"))
        if trained.start is not None and trained.end is not None and sheet.kind != "judge":
            span = f"{trained.start:%Y-%m-%d %H:%M} to {trained.end:%Y-%m-%d %H:%M} UTC, {trained.rows:,} rows"
            rows.append((name.replace("holdout", "training"), span))
    if result is not None:
        rows.append(("digest", result.holdout_digest))
        for who, word, count in (
            ("candidate", result.contamination.candidate, result.contamination.candidate_rows),
            ("champion", result.contamination.champion, result.contamination.champion_rows),
        ):
            dropped = f", {count:,} rows dropped" if count else ""
            rows.append(
                (
                    f"trained on by the {who}?",
                    {"clean": "no row", "overlaps": "yes"}.get(word, "could not be checked") + dropped,
                )
            )
        if result.budget is not None:
            spent = result.budget
            rows.append(
                (
                    "error budget",
                    f"look {spent.look} of {spent.most}, alpha {spent.alpha:.4g} of {spent.total:.4g}. {spent.statement}",
                )
            )
    return facts(rows)


def validation(report: ValidationReport | None) -> str:
    """What the data checks found; those that passed are counted only."""
    if report is None:
        return ""
    told = [check for check in report.checks if check.result != "pass"]
    rows = [
        [
            safe(check.name.replace("_", " ")),
            safe(check.subject),
            badge(check.result.replace("_", " "), OUTCOMES[check.result])
            + (" <small>warning</small>" if check.severity == "warn" else ""),
            safe(check.statement),
        ]
        for check in told
    ]
    passed = len(report.checks) - len(told)
    lead = "" if rows else f"<p>{safe(report.statement)}</p>"
    return f"{lead}{table(['check', 'of', 'result', 'finding'], rows)}<p>{passed:,} checks passed.</p>"


def staleness(sheet: Sheet) -> str:
    """Why the run was made, and what it found about the champion's age, data and performance."""
    rows = [
        ("trigger", sheet.trigger_kind or None),
        ("went on?", None if sheet.trigger is None else sheet.trigger.statement),
    ]
    report = sheet.staleness
    if report is None:
        return facts(rows)
    signals = [
        [
            safe(signal.rule.replace("_", " ")),
            safe(signal.subject),
            badge(signal.outcome.replace("_", " "), OUTCOMES[signal.outcome]),
            safe(signal.statement),
        ]
        for signal in sorted(report.signals, key=lambda one: one.outcome == "ok")
    ]
    return facts([*rows, ("champion", f"{report.verdict.replace('_', ' ')}: {report.statement}")]) + table(
        ["rule", "of", "outcome", "finding"], signals
    )


def doubts(sheet: Sheet) -> str:
    """What makes the case ambiguous, what could not be scored, and what the run noted."""
    result = sheet.comparison
    told: list[str] = []
    if result is not None:
        sentences = dict(zip(result.doubts, result.doubt_statements, strict=False))
        told += [f"{code}: {sentences.get(code, '')}".rstrip(": ") for code in dict.fromkeys(result.doubts)]
        told += result.failures
    return listed([*told, *sheet.notes])


_CITED: Final = re.compile(r"\[(E\d+(?:,\s*E\d+)*)\]")


def brief(found: Brief | None) -> str:
    """What is uncertain, the facts that matter, and what each answer leads to."""
    if found is None:
        return ""
    answers = table(["answer", "leads to"], [[safe(name), safe(told)] for name, told in found.answers.items()])
    what = "".join(f"<li>{_linked(fact.sentence)}</li>" for fact in found.facts)
    return f"<p>{_linked(found.uncertain)}</p>" + (f"<ul>{what}</ul>" if what else "") + answers


def rationale(found: Rationale | None) -> str:
    """The explanation in its parts; citations lead to the evidence. Of older records, the text as it was written."""
    if found is None:
        return ""
    if found.parts is None:
        body = "".join(f"<p>{_linked(one)}</p>" for one in found.text.strip().splitlines() if one.strip())
    else:
        parts = found.parts
        body = f"<p><strong>{_linked(parts.summary)}</strong></p>" + "".join(
            f"<h3>{title}</h3><ul>{''.join(f'<li>{_linked(text)}</li>' for text in texts)}</ul>"
            for title, texts in (
                ("What carries it", parts.argument),
                ("What is open", parts.concerns),
                ("What would change it", parts.would_change),
            )
            if texts
        )
    return f'{body}<p class="lead">{safe(written_by(found))}</p>' + listed(
        f"The model's text was not used: {fault}" for fault in found.faults
    )


def written_by(found: Rationale) -> str:
    """Who wrote it, from which prompt, and what it took."""
    who = "a template" if found.written_by == "template" else f"the language model {found.model or ''}".strip()
    told = [f"Written by {who}, prompt {found.prompt_name} {found.prompt_version}."]
    usage = found.usage
    if found.reused:
        told.append("The same question had been answered before.")
    elif usage is not None:
        took = "" if found.seconds is None else f" in {found.seconds:.1f} s"
        cost = "cost unknown" if usage.cost is None else f"cost {usage.cost:.4g}"
        told.append(f"{usage.tokens_in or 0:,} tokens in, {usage.tokens_out or 0:,} out{took}, {cost}.")
    return " ".join([*told, "It explains the decision and made none of it."])


def _linked(text: str) -> str:
    """HTML of a text whose citations lead to the evidence."""

    def links(match: re.Match[str]) -> str:
        return "[" + re.sub(r"E\d+", lambda one: f'<a href="#{one[0]}">{one[0]}</a>', match[1]) + "]"

    return _CITED.sub(links, safe(text))


def evidence(items: Sequence[EvidenceItem]) -> str:
    """Every numbered fact, to be cited by its id."""
    rows = [
        [f'<span id="{safe(one.id)}">{safe(one.id)}</span>', safe(one.key), safe(one.outcome), safe(one.statement)]
        for one in items
    ]
    return (
        f"<details><summary>{len(rows)} items</summary>{table(['id', 'key', 'outcome', 'statement'], rows)}</details>"
        if rows
        else ""
    )


def provenance(sheet: Sheet) -> str:
    """Where all of this came from."""
    policy, prompt = sheet.policy, sheet.rationale
    return facts(
        [
            ("profile", sheet.model_id),
            ("registered model", sheet.registered_model),
            ("candidate", sheet.candidate),
            ("champion", None if sheet.champion is None else f"version {sheet.champion}"),
            ("run", sheet.run_id),
            ("tracking run", sheet.tracking_run_id),
            ("kind, mode", f"{sheet.kind}, {sheet.mode}"),
            ("policy version", None if policy is None else policy.policy_version),
            ("policy input (sha256)", sheet.input_digest),
            ("profile (sha256)", sheet.profile_digest),
            ("prompt (sha256)", None if prompt is None else prompt.prompt_hash),
            ("rollout plan (sha256)", None if sheet.plan is None else sheet.plan.digest),
            ("page made", f"{sheet.made_at:%Y-%m-%d %H:%M} UTC"),
        ]
    )
