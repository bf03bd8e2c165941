"""How does a look at one champion, or at all of them, read on a screen? Verdict first, then what to do, then the evidence."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.entrypoints.cli.render import error_body, hint, labelled, shortened, table, wrapped

if TYPE_CHECKING:
    from agent.services.check import Checked
    from agent.services.sweep import Looked, Swept
    from tools.contracts.evidence import Effort, Signal
    from tools.contracts.when import WhenVerdict

SHOWN_COLUMNS: Final = 8
"""Columns that were measured bad or left open, one line each; further ones are named only."""
NAMED: Final = 12
SENTENCE: Final = 200
_SAID: Final = {
    "ok": "did not drift",
    "bad": "drifted",
    "could_not_tell": "could not be told",
    "could_not_measure": "could not be measured",
}
_DRIFTED: Final = {"ok": "no", "bad": "yes", "could_not_tell": "cannot tell", "could_not_measure": "not measured"}
_WHY: Final = {"page": "page", "ticket": "ticket", "digest": "digest", "none": "why"}
_TOLD: Final = {
    "page": "page",
    "ticket": "ticket",
    "digest": "digest",
    "failed": "could not look",
    "could_not_measure": "could not measure",
    "fine": "fine",
}


# --- one model


def check_lines(
    model: str, trigger: str, checked: "Checked", *, seconds: float, columns: bool, report: object = None
) -> list[str]:
    """A check for a person; `columns` shows every column with its numbers, `report` is where the page was kept."""
    staleness, verdict, alert = checked.staleness, checked.trigger, checked.alert
    about_columns = [s for s in staleness.signals if _is_column(s)]
    rows = [[_plain(s.rule), s.subject, _plain(s.outcome), s.statement] for s in staleness.signals if not _is_column(s)]
    shown = [] if columns else [s for s in about_columns if s.outcome != "ok"][:SHOWN_COLUMNS]
    rows += [[_plain(s.rule), s.subject, _plain(s.outcome), s.statement] for s in shown]
    fires = "fires" if verdict.proceed else "does not fire"
    # The verdict's statement quotes the report's, and the table below says all of that.
    said = " ".join(verdict.statement.replace(staleness.statement, "").split())
    lines = [
        "",
        *wrapped(f"{model}: {_plain(staleness.verdict).upper()}. To do: {_plain(staleness.recommendation)}."),
        "",
        *labelled(f"  {_WHY[alert.level]:<11}", alert.sentence or staleness.statement),
        *labelled("  trigger    ", f"{trigger} {fires} ({verdict.code}). {said}"),
        *_when(staleness.when),
    ]
    lines += ["", *table(["rule", "about", "outcome", "finding"], rows, indent=2)]
    lines += ["", *_column_table(about_columns)] if columns else [*_folded(about_columns, shown)]
    lines += ["", *labelled("  cost       ", f"{_cost(staleness.effort)}{seconds:.1f} s")]
    if report is not None:
        lines += labelled("  report     ", str(report))
    return lines


def _when(verdict: "WhenVerdict | None") -> list[str]:
    """Whether a retraining is worth it, and the numbers behind that."""
    if verdict is None:
        return []
    lines = labelled("  when       ", f"{verdict.statement} (strategy {_plain(verdict.strategy)}, by {verdict.basis})")
    for number in verdict.numbers:
        lines += labelled("             ", number.statement)
    if verdict.next_look is not None:
        lines += labelled("             ", f"Look again at {verdict.next_look:%Y-%m-%d %H:%M} UTC.")
    return lines


def _is_column(signal: "Signal") -> bool:
    return signal.rule == "drift" and signal.subject != "data set"


def _folded(columns: Sequence["Signal"], shown: Sequence["Signal"]) -> Iterator[str]:
    """One line for all columns of an outcome that are not in the table."""
    for outcome, said in _SAID.items():
        names = [s.subject for s in columns if s.outcome == outcome and s not in shown]
        if not names:
            continue
        noun = "column" if len(names) == 1 else "columns"
        if outcome == "ok":
            yield from wrapped(f"{len(names)} {noun} {said}.")
        else:
            more = f"{len(names)} more {noun}" if shown else f"{len(names)} {noun}"
            some = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            yield from wrapped(f"{more} {said}: {some}. `--columns` shows all.")


def _column_table(columns: Sequence["Signal"]) -> list[str]:
    if not columns:
        return ["  no columns were compared"]
    rows = [
        [
            s.subject,
            _DRIFTED[s.outcome],
            s.kind.replace("_", " "),
            _number(s.value, ".3f"),
            _number(s.p_value, ".2g"),
            s.n,
            s.n_reference,
            _number(s.weight, ".2f"),
            None if s.since is None else f"{s.since:%Y-%m-%d}",
        ]
        for s in columns
    ]
    return table(["column", "drifted", "what", "effect", "p", "n", "n ref", "weight", "since"], rows)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _cost(effort: "Effort | None") -> str:
    """What looking took, but the time; empty where nobody counted."""
    if effort is None:
        return ""
    of = "" if effort.sampled_from is None else f" of {effort.sampled_from:,}"
    return f"{effort.queries} queries, {effort.rows_in_memory:,} rows in memory{of}, "


def _plain(word: str) -> str:
    return word.replace("_", " ")


# --- all models


def sweep_lines(swept: "Swept") -> list[str]:
    """A sweep for a person: who must be looked after first, and a line of totals."""
    rows = [
        [row.model_id, _TOLD[row.standing], _what_to_do(row), shortened(" ".join(row.sentence.split()), SENTENCE)]
        for row in swept.looked
    ]
    counts = [f"{swept.count(standing)} {said}" for standing, said in _TOLD.items() if swept.count(standing)]  # pyright: ignore[reportArgumentType]
    models = "1 model" if len(rows) == 1 else f"{len(rows)} models"
    return [
        *table(["model", "standing", "do", "why"], rows),
        "",
        *wrapped(f"{models} in {swept.seconds:.1f} s: {', '.join(counts)}.", indent=0),
        *wrapped(f"`{hint('check MODEL')}` shows one with its evidence.", indent=0),
    ]


def _what_to_do(row: "Looked") -> str:
    if row.checked is None:
        return "see why"
    return _plain(row.checked.staleness.recommendation)


def sweep_json(swept: "Swept") -> dict[str, Any]:
    """A sweep for machines: `{"models": […], "totals": {…}}`, worst first."""
    return {
        "models": [_row_json(row) for row in swept.looked],
        "totals": {
            "models": len(swept.looked),
            "pages": swept.count("page"),
            "tickets": swept.count("ticket"),
            "digest": swept.count("digest"),
            "failed": swept.count("failed"),
            "couldNotMeasure": swept.count("could_not_measure"),
            "fine": swept.count("fine"),
            "queries": swept.queries,
            "seconds": round(swept.seconds, 3),
        },
    }


def _row_json(row: "Looked") -> dict[str, Any]:
    head: dict[str, Any] = {
        "modelId": row.model_id,
        "standing": row.standing,
        "sentence": row.sentence,
        "seconds": round(row.seconds, 3),
    }
    if row.error is not None:
        return head | {"error": error_body(row.error)}
    return head | ({} if row.checked is None else checked_json(row.checked))


def checked_json(checked: "Checked") -> dict[str, Any]:
    """Everything that a check found."""
    return {
        "staleness": checked.staleness.to_json_dict(),
        "trigger": checked.trigger.to_json_dict(),
        "alert": checked.alert.to_json_dict(),
    }
