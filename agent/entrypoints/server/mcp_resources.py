"""What can be read over MCP: runs, the records behind their decisions, and the pages to judge them from."""

import json
from collections.abc import Sequence
from typing import Final

import mcp_types as types

from agent.desk import Desk
from agent.entrypoints.server.mcp_contracts import run_json, uri_of
from agent.problems import show
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord
from tools.errors import NotFound

TEMPLATES: Final = [
    types.ResourceTemplate(
        uri_template=uri_of("{runId}"),
        name="run",
        title="A run's public JSON",
        description="The run at its last pause or end, the same bytes as `retrain run --json` prints.",
        mime_type="application/json",
    ),
    types.ResourceTemplate(
        uri_template=uri_of("{runId}", "decision"),
        name="decision",
        title="A run's decision record",
        description="Everything that the decision rested on, enough to make it again.",
        mime_type="application/json",
    ),
    types.ResourceTemplate(
        uri_template=uri_of("{runId}", "report"),
        name="report",
        title="A run's decision report",
        description="One HTML page to judge the decision from.",
        mime_type="text/html",
    ),
]


def resources(run: RunRecord) -> Sequence[types.Resource]:
    """A run's public JSON, and what its decision left behind."""
    about = f"{run.kind} of {run.model_id}, {run.status}" + (f", {run.decision}" if run.decision else "")
    found = [types.Resource(uri=uri_of(run.run_id), name=run.run_id, description=about, mime_type="application/json")]
    if run.decision_record is not None:
        for what, kind in (("decision", "application/json"), ("report", "text/html")):
            name = f"{run.run_id} {what}"
            found.append(
                types.Resource(uri=uri_of(run.run_id, what), name=name, description=about, mime_type=kind)  # type: ignore[arg-type]
            )
    return found


def resource(desk: Desk, caller: Caller, uri: str) -> tuple[str, str]:
    """Media type and text. The id is looked up before any path is made of it."""
    head, _, rest = uri.partition("://runs/")
    run_id, _, what = rest.partition("/")
    if head != "retrain" or not run_id or what not in ("", "decision", "report"):
        known = ", ".join(template.uri_template for template in TEMPLATES)
        raise NotFound(f"no resource {show(uri)}", thing="uri", value=uri, remedy=f"there are {known}")
    if what == "report":
        return "text/html", desk.report(caller, run_id)
    if what == "decision":
        return "application/json", json.dumps(desk.decision_record(caller, run_id).to_json_dict(), ensure_ascii=False)
    return "application/json", json.dumps(run_json(desk.get_run(caller, run_id)), ensure_ascii=False)
