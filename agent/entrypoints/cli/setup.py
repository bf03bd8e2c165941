"""`retrain schema`, `doctor` and `demo`."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, labelled, screen_width

if TYPE_CHECKING:
    from agent.services.doctor import Finding


def schema(
    name: Annotated[
        str | None, typer.Argument(help="input, output, a peer's message, …; without it: the list.")
    ] = None,
    json: Json = False,
) -> None:
    """Print a contract as JSON Schema."""
    from agent.schemas import SCHEMAS, json_schema

    if name is None:
        SCREEN.result(sorted(SCHEMAS), sorted(SCHEMAS))
    else:
        SCREEN.result(json_schema(name))


def doctor(
    model: Annotated[str | None, typer.Argument(help="Only this profile.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """What is missing before any run: permissions, signature, server support, environments."""
    from agent.services.doctor import examine

    findings = examine(open_app(workspace, model), model)
    SCREEN.result([f.to_json_dict() for f in findings], _finding_lines(findings))
    if any(finding.result == "missing" for finding in findings):
        raise typer.Exit(2)


def _finding_lines(findings: "Iterable[Finding]") -> list[str]:
    """One profile after the other; a remedy on a line of its own where it does not fit behind its finding."""
    lines: list[str] = []
    for subject, group in groupby(findings, key=lambda finding: finding.about.partition(": ")[0]):
        is_profile = subject.startswith("profile ")
        if is_profile:
            lines += ["", subject]
        for finding in group:
            topic = (finding.about.partition(": ")[2] or "profile") if is_profile else subject
            label = f"{finding.result:<7}  {topic:<10}  "
            text = f"{finding.statement} → {finding.remedy}" if finding.remedy else finding.statement
            if finding.remedy and (len(label) + len(text) > screen_width() or "\n" in text):
                text = f"{finding.statement}\n→ {finding.remedy}"
            lines += labelled(label, text)
    return lines


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Made fresh; must be new or an earlier demo's.")] = Path(
        ".demo"
    ),
    serve: Annotated[
        bool, typer.Option("--serve", help="Instead: a canary and a rollback on real servers, under a steady load.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Four runs on the electricity stream: improve, refuse bad data, go back, ask."""
    if serve:
        from agent.demo_serving import play
    else:
        from agent.demo import play

    SCREEN.workspace = folder
    play(folder, SCREEN)
