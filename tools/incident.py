"""How is an incident told to people, on a page and in a message?"""

from tools.contracts.incident import Incident, Notice

_TITLES = {
    "rolled_back": "rolled back",
    "not_proved": "moved back, but not proved",
    "refused": "NOT rolled back",
}


def page(incident: Incident) -> str:
    """The record as Markdown."""
    gone = f"from version {incident.from_version or 'unknown'} to version {incident.to_version or 'none'}"
    lines = [
        f"# {incident.model_id}: {_TITLES[incident.outcome]} ({gone})",
        "",
        f"- what: {_line(incident.statement)}",
        f"- why: {_line(incident.reason)}",
        f"- detected: {incident.detected_at:%Y-%m-%d %H:%M:%S} UTC",
        f"- asked by: {_line(incident.by)}",
        f"- run: {incident.run_id}" + (f", which overtook {incident.overtaken_run}" if incident.overtaken_run else ""),
        f"- plan: {incident.plan_digest or 'none was under way'}",
        f"- held: {incident.held or 'nothing'}",
        "",
        "## Evidence",
        "",
    ]
    if incident.signals:
        lines += [
            "| signal | outcome | champion n | candidate n | difference | what was seen |",
            "|---|---|---|---|---|---|",
        ]
        for signal in incident.signals:
            difference = "" if signal.difference is None else f"{signal.difference:+.4g}"
            cells = [signal.name, signal.outcome, str(signal.champion_n), str(signal.candidate_n), difference]
            lines.append(f"| {' | '.join([*cells, _cell(signal.statement)])} |")
    else:
        lines.append("No signal of a rollout: whoever asked for the rollback gave the reason above.")
    lines += ["", "## Proof", "", "None was taken." if incident.proof is None else _line(incident.proof.statement)]
    lines += ["", "## Timeline", "", "| time (UTC) | run | effect | done | |", "|---|---|---|---|---|"]
    for entry in incident.timeline:
        done = "yes" if entry.done else "not known"
        cells = [f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.run_id, entry.effect, done, _cell(entry.told)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def notice(incident: Incident) -> Notice:
    """The message of an incident: what a person on call needs first."""
    lines = [
        incident.statement,
        f"Why: {incident.reason}",
        f"Asked by {incident.by}, detected {incident.detected_at:%Y-%m-%d %H:%M:%S} UTC, run {incident.run_id}.",
    ]
    if incident.held is not None:
        lines.append(f"The model is held until an approver says: retrain release {incident.model_id} --reason …")
    if incident.outcome != "rolled_back":
        lines.append("A person must look: what serves now is not known to be good.")
    return Notice(
        key=f"{incident.run_id}/{incident.outcome}",
        event=incident.outcome,
        title=f"{incident.model_id}: {_TITLES[incident.outcome]}",
        body="\n".join(lines),
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
