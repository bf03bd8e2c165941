"""Can a person judge from this? One run's decision as one HTML page that needs nothing but itself.

No script, no font, no picture from outside: it opens from a disk, in a mail and on a phone, and prints. A content security
policy forbids what an escaped text could not do anyway.
"""

from typing import Final

from tools import report_facts as told
from tools import report_parts as parts
from tools import report_plots as plots
from tools.report_figures import whole, worst_first
from tools.report_parts import Sheet, section
from tools.report_plots import safe

_STYLE: Final = (
    plots.STYLE
    + """
*{box-sizing:border-box} body{margin:0 auto;max-width:64rem;padding:1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere} h1{font-size:1.15rem;font-weight:600;
margin:.2rem 0} h2{font-size:1.15rem;margin:2.2rem 0 .4rem;border-bottom:1px solid var(--faint);padding-bottom:.25rem}
p{margin:.4rem 0} .lead,small{color:var(--soft);font-size:.85rem} a{color:var(--new)} svg{display:block;width:100%;height:auto}
.verdict{border:1px solid var(--faint);border-left:.5rem solid var(--none);background:var(--panel);padding:1rem;border-radius:.4rem;
margin:.6rem 0} .verdict.deploy,.verdict.canary{border-left-color:var(--good)} .verdict.reject{border-left-color:var(--bad)}
.verdict.manual_review{border-left-color:var(--open)} .verdict strong{display:block;font-size:1.7rem;line-height:1.2}
.badge{display:inline-block;border:1px solid currentColor;border-radius:.8rem;padding:0 .6rem;font-size:.82rem;font-weight:600;
white-space:nowrap} .improved,.good{color:var(--good)} .non_inferior{color:var(--fine)} .regressed,.bad{color:var(--bad)}
.inconclusive,.open{color:var(--open)} .no_data,.none{color:var(--none)} code{background:var(--panel);border:1px solid
var(--faint);border-radius:.25rem;padding:.05rem .3rem;font-size:.85em} pre{background:var(--panel);border:1px solid var(--faint);
border-radius:.3rem;padding:.5rem .7rem;margin:.3rem 0;white-space:pre-wrap;font-size:.85rem} ul{padding-left:1.2rem;margin:.4rem 0}
dl{display:grid;grid-template-columns:minmax(8rem,13rem) 1fr;gap:.15rem .8rem;margin:.5rem 0} dt{color:var(--soft)} dd{margin:0}
table{border-collapse:collapse;width:100%;font-size:.88rem;margin:.5rem 0} th{text-align:left;color:var(--soft);font-weight:500}
td:nth-child(-n+2){min-width:7rem}
th,td{padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--faint);vertical-align:top} summary{cursor:pointer;color:var(--new)}
.metric{display:grid;grid-template-columns:minmax(0,16rem) minmax(0,1fr) minmax(0,17rem);gap:.3rem 1.2rem;padding:.6rem 0;
border-bottom:1px solid var(--faint);align-items:center} .numbers span{display:block;font-size:.88rem;font-variant-numeric:tabular-nums}
.said{font-size:.88rem;color:var(--soft)} .narrow{display:none} section,.metric,tr{break-inside:avoid-page}
@media (max-width:44rem){.wide{display:none} .narrow{display:block} .metric,dl{grid-template-columns:1fr} dt{margin-top:.4rem}
.numbers{display:grid;grid-template-columns:1fr 1fr} thead{display:none} tr{display:block;padding:.4rem 0;border-bottom:1px solid
var(--faint)} td{display:block;border:0;padding:.05rem 0} td::before{content:attr(data-h)": ";color:var(--soft)}}
@media print{body{max-width:none;font-size:11pt} a{color:inherit} section{break-inside:auto} h2{break-after:avoid}
details:not([open])::details-content{content-visibility:visible;height:auto} .wide{display:block} .narrow{display:none}}
"""
)

MOST_LETTERS: Final = 80

DECISIONS: Final = {
    "deploy": "Deploy the candidate",
    "canary": "Try the candidate on a part of the traffic (canary)",
    "reject": "Do not deploy: the champion stays",
    "manual_review": "A person has to decide",
}
SURE: Final = {
    "clear": "clear: the rules leave no room",
    "borderline": "borderline: probably a gain, but less sure than was asked",
    "ambiguous": "ambiguous: something is undecided, doubted or not measured",
}


def page(sheet: Sheet) -> str:
    """The whole report, as HTML."""
    result = sheet.comparison
    body = [
        _first(sheet),
        section("In brief, for the reviewer", told.brief(sheet.brief)),
        section(
            "Metrics",
            "" if result is None else parts.metrics(result, sheet.counted),
            "Dot: the change on the same rows, positive when the candidate is better. Thick line: its interval. Dashed: no "
            "change. Solid line: where the verdict turns; the shaded side is good enough.",
        ),
        _slices(sheet),
        section("Agreement of the two models", "" if result is None else parts.agreement(result)),
        section("Calibration", parts.calibration(sheet.figures), _calibrated(sheet)),
        section(
            "Error over time",
            parts.error_over_time(sheet.figures),
            "Over the holdout, both models on the same rows; grey: how many rows a point rests on.",
        ),
        section("Figures", "" if sheet.figures_note is None else f"<p>{safe(sheet.figures_note)}</p>"),
        section("Doubts and notes", told.doubts(sheet)),
        section("Holdout", told.holdout(sheet)),
        section("Data validation", told.validation(sheet.validation)),
        section("Why this run", told.staleness(sheet)),
        section("Rationale", told.rationale(sheet.rationale)),
        section("Evidence", told.evidence(sheet.evidence)),
        section("Provenance", told.provenance(sheet)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{safe(plots.shortened(sheet.model_id, 80))}: {safe(sheet.decision or 'no decision')}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def pictures(sheet: Sheet) -> dict[str, str]:
    """File name to SVG: what the page shows, as files; without what could not be drawn."""
    drawn: dict[str, str] = {}
    if sheet.comparison is not None:
        drawn["intervals.svg"] = plots.interval_file(whole(sheet.comparison), "Metrics", shared=False)
        worst = worst_first(sheet.comparison)[: parts.MOST_SLICES]
        drawn["slices.svg"] = plots.interval_file(worst, "Slices, worst first", shared=True)
    if sheet.figures is not None and sheet.figures.calibration is not None:
        height, body = plots.calibration(sheet.figures.calibration, 460)
        drawn["calibration.svg"] = plots.standalone(460, height, body, "Calibration")
    if sheet.figures is not None and sheet.figures.error_over_time is not None:
        height, body = plots.error_over_time(sheet.figures.error_over_time, 820)
        drawn["error_over_time.svg"] = plots.standalone(820, height, body, "Error over time")
    return drawn


def _first(sheet: Sheet) -> str:
    """What, how sure, who, why, and what now."""
    policy, decision = sheet.policy, sheet.decision or "none"
    names = dict.fromkeys(plots.shortened(one, MOST_LETTERS) for one in (sheet.model_id, sheet.registered_model))
    name = " · registered as ".join(names)
    reasons = "".join(
        f"<li><code>{safe(reason.code)}</code> {safe(reason.sentence)}</li>"
        for reason in (policy.reasons if policy else ())
    )
    return (
        f'<header><h1>{safe(name)}</h1><p>{safe(_duel(sheet))}</p><div class="verdict {safe(decision)}">'
        f"<strong>{safe(DECISIONS.get(decision, 'There is no decision yet'))}</strong>"
        + parts.facts(
            [
                ("decision", decision),
                ("how sure", None if policy is None else SURE[policy.certainty]),
                ("decided by", _who(sheet)),
                ("policy said", None if policy is None or policy.decision == decision else policy.decision),
            ]
        )
        + f"</div></header>{section('Why', f'<ul>{reasons}</ul>' if reasons else '')}{section('What happens next', _next(sheet))}"
    )


def _duel(sheet: Sheet) -> str:
    """Who against whom; names that would push the decision off the screen are cut, and stand whole in the provenance."""
    champion, candidate = (
        None if v is None else plots.shortened(v, MOST_LETTERS) for v in (sheet.champion, sheet.candidate)
    )
    in_place = "no champion yet" if champion is None else f"champion version {champion}"
    return f"There is no candidate; {in_place}" if candidate is None else f"Candidate {candidate} against {in_place}"


def _who(sheet: Sheet) -> str:
    review = sheet.review
    if review is not None and review.answer is not None and sheet.decided_by == review.answered_by:
        return f"{review.answered_by}, who answered {review.answer} ({review.offered.replace('_', ' ')} was offered)"
    return {
        "policy": "the policy, by rule",
        "model": "the language model, which may only send a borderline case to a person",
        "expiry": "nobody: the question ran out, so nothing is deployed",
    }.get(sheet.decided_by, sheet.decided_by)


def _next(sheet: Sheet) -> str:
    said, typed = list[str](), list[str]()
    review, rollout, decision = sheet.review, sheet.rollout, sheet.decision
    stays = (
        "Nothing moves." if sheet.champion is None else f"Nothing moves: version {sheet.champion} stays in production."
    )
    if review is not None and review.reason:
        said.append(f"{review.answered_by} answered {review.answer}: {review.reason}")
    if review is not None and review.status == "open":
        offered = review.offered.replace("_", " ")
        said.append(
            f"A person is asked until {review.expires_at:%Y-%m-%d %H:%M} UTC: {', '.join(review.approvers) or 'nobody'} may "
            f"answer. Approve means: {offered}. Reject, or no answer, means: the champion stays."
        )
        typed.append(f"retrain review show {review.id}")
        edits = "edit" in review.payload["review_configs"][0]["allowed_decisions"]
        typed += [
            f'retrain review {verb} {review.id} --reason "…"'
            for verb in ("approve", *(("canary",) if edits else ()), "reject")
        ]
    elif rollout is not None and rollout.phase not in ("not_started", "awaiting_approval"):
        said.append(rollout.statement or f"The rollout is {rollout.phase.replace('_', ' ')}.")
        if rollout.phase == "promoted":
            typed.append(f'retrain rollback {sheet.model_id} --reason "…"')
    elif sheet.mode == "observe":
        said.append(f"Mode is observe: this was decided and recorded, nothing is touched. {stays}")
    elif decision == "manual_review" or (sheet.mode == "recommend" and decision in ("deploy", "canary")):
        said.append("The run asks a person; until an approver has answered, nothing moves.")
        typed.append("retrain review list")
    elif decision in ("deploy", "canary"):
        said.append("The rollout starts, with the way back named in its plan.")
    else:
        said.append(stays)
    primary = None if sheet.comparison is None else sheet.comparison.primary
    reasons = " ".join(reason.sentence for reason in (sheet.policy.reasons if sheet.policy else ()))
    if (
        primary is not None
        and primary.rows_needed is not None
        and f"{primary.rows_needed:,} {sheet.counted}" not in reasons
    ):
        by = "" if primary.tells_by is None else f", there by {primary.tells_by:%Y-%m-%d} at the current rate"
        said.append(f"About {primary.rows_needed:,} {sheet.counted} would tell about {primary.criterion.metric}{by}.")
    return "".join(f"<p>{safe(one)}</p>" for one in said) + "".join(f"<pre>{safe(one)}</pre>" for one in typed)


def _slices(sheet: Sheet) -> str:
    result = sheet.comparison
    if result is None or (not worst_first(result) and result.groups_searched is None):
        return ""
    return section(
        "Slices, worst first",
        parts.slices(result, sheet.counted),
        "On one scale, the primary metric within each group of rows.",
    )


def _calibrated(sheet: Sheet) -> str:
    found = None if sheet.figures is None else sheet.figures.calibration
    if found is None:
        return ""
    return (
        f"The event: {found.about}. Stated probability against the share that came true, in bins of equally many rows with 95 % "
        "intervals. On the dashed diagonal a model means what it says."
    )
