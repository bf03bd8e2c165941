# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""How does another program hold the agent? As a graph within its graph, or as a tool of its model.

`graph` is the state machine itself, for LangGraph's tooling to draw and open. Who embeds the agent takes `subgraph` or
`retraining_tool`: both stand at the desk, so a run is recorded, holds its model and survives a kill as from any other door.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from agent.desk import Desk
from agent.graph import build_graph
from agent.problems import error_json
from agent.requests import parse_request
from agent.services.reviews import from_langchain, os_user
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord
from tools.errors import BadInput, NotAllowed, RetrainingError, Unavailable

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

    from agent.bootstrap import App

graph = build_graph()
"""Compiled without a checkpointer: the parent, or LangGraph's server, brings its own. Needs `Deps` as its context."""

TOOL: Final = "retrain_model"
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at a run that another process drives."""


class Retraining(TypedDict, total=False):
    """What the subgraph shares with its parent, and what it keeps for itself."""

    retraining_request: dict[str, Any]
    """In: the public request."""
    retraining_result: dict[str, Any]
    """Out: the public JSON, at each pause and at the end."""
    retraining_run: str
    """The run's id."""
    retraining_asked: dict[str, Any] | None
    """What the parent was interrupted with last; absent once the run has ended."""
    retraining_key: str
    """Idempotency key of a request that brings none: a subgraph that was killed finds its run again."""


Reviewer = Callable[[RunnableConfig], Caller | None]
"""Whom the embedding program has made sure of behind this invocation; None where there is nobody."""


def this_agent() -> Caller:
    """An agent of the OS user: it may look, run and roll back, and answers no review."""
    return Caller(name=os_user(), kind="agent", scopes=frozenset({"read", "run", "roll_back"}), door="embedded")


def subgraph(
    desk: Desk, *, caller: Caller | None = None, reviewer: Reviewer | None = None
) -> CompiledStateGraph[Retraining]:
    """The agent as a node of a parent graph; without a checkpointer of its own, under `invoke` and `ainvoke`.

    The parent is interrupted where a person is asked (`{"kind": "review", "reviewId", "runId", "action_requests",
    "review_configs"}`, LangChain's payload) and where a rollout waits (`{"kind": "wait", "runId", "wakeAt"}`). What it is
    resumed with is an answer only where `reviewer` names a person who is an approver. Else the answer is looked for where
    people give it (`retrain review`, any door); while there is none the parent is interrupted again, and `refused` says why.

    Args:
        desk: Behind it; the embedding program closes it.
        caller: Who asks; an agent of the OS user where None.
        reviewer: Who is behind an invocation, as the embedding program knows.
    """
    asks = caller or this_agent()

    def accept(state: Retraining) -> Retraining:
        return {"retraining_key": uuid.uuid4().hex}

    def begin(state: Retraining) -> Retraining:
        given = {"idempotencyKey": state.get("retraining_key"), **state.get("retraining_request", {})}
        request, warnings = parse_request(given)
        return _stands(desk, asks, _settled(desk, asks, desk.start(asks, request, warnings)))

    def ask(state: Retraining, config: RunnableConfig) -> Retraining:
        """Restarted from its first line when resumed: nothing but the question stands before the answer."""
        asked, run_id = state.get("retraining_asked") or {}, state.get("retraining_run", "")
        given, refused = interrupt(asked), None
        if asked["kind"] == "review":
            refused = _answer(desk, None if reviewer is None else reviewer(config), asked, given)
        record = desk.get_run(asks, run_id)
        if record.status == "parked" and not desk.is_going(run_id) and _ready(desk, asks, record):
            desk.resume(asks, run_id)
        stands = _stands(desk, asks, _settled(desk, asks, run_id))
        again = stands.get("retraining_asked")
        if again is not None and refused is not None and again["kind"] == "review":
            again["refused"] = refused
        return stands

    def further(state: Retraining) -> Literal["ask", "__end__"]:
        return "__end__" if state.get("retraining_asked") is None else "ask"

    made = StateGraph(Retraining)
    for node in (accept, begin, ask):
        made.add_node(node.__name__, node)
    made.add_edge(START, "accept")
    made.add_edge("accept", "begin")
    made.add_conditional_edges("begin", further)
    made.add_conditional_edges("ask", further)
    return made.compile(name="retraining")


async def workspace_graph() -> CompiledStateGraph[Retraining]:
    """The subgraph over the workspace of this folder or of RETRAINING_WORKSPACE, for LangGraph's server.

    That one asks for it in its event loop, and refuses what blocks there: reading a workspace does.
    """
    return await asyncio.to_thread(_of_workspace)


@cache
def _of_workspace() -> CompiledStateGraph[Retraining]:
    import os
    from pathlib import Path

    from agent.bootstrap import bootstrap

    return subgraph(Desk(bootstrap(environ=os.environ, start=Path.cwd())))


def _answer(desk: Desk, person: Caller | None, asked: dict[str, Any], given: Any) -> dict[str, Any] | None:
    """Record what the parent was resumed with, where it is a person's word about what was shown; else why it is not."""
    review_id = int(asked["reviewId"])
    try:
        if person is None:
            raise NotAllowed(
                "nobody is known to stand behind this answer, and an agent's is no person's",
                thing="reviewer",
                remedy=f"an approver answers: `retrain review show {review_id}`",
            )
        said = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        decisions = said.get("decisions")
        plain = isinstance(decisions, list) and all(isinstance(each, dict) for each in cast("list[Any]", decisions))
        verdict = from_langchain(cast("Any", decisions), desk.get_review(person, review_id)) if plain else None
        if verdict is None:
            raise BadInput(
                f"this neither approves nor rejects what review {review_id} asks",
                thing="decisions",
                value=cast("Any", given),
                remedy='resume with {"decisions": [{"type": "approve"}], "reason": "…"}',
            )
        desk.submit_review(person, review_id, verdict, str(said.get("reason", "")), seen=asked["digest"])
    except RetrainingError as error:
        return error_json(error)
    return None


def _ready(desk: Desk, caller: Caller, record: RunRecord) -> bool:
    """Whether a parked run has something to go on with: an answer, or an hour that may have come."""
    number = (record.output or {}).get("deploymentDecision", {}).get("reviewId")
    if record.parked_for != "review" or number is None:
        return True
    return desk.get_review(caller, number).status != "open"


def _settled(desk: Desk, caller: Caller, run_id: str) -> RunRecord:
    """The run once it stands still.

    Raises:
        RetrainingError: What ended it.
    """
    while True:
        desk.wait_for(run_id)
        record = desk.get_run(caller, run_id)
        if record.status != "running":
            break
        time.sleep(LOOK_EVERY)
    if record.output is None or record.status not in ("parked", "finished"):
        raise Unavailable(
            f"run {run_id} is {record.status}: {record.error}",
            thing="run",
            value=run_id,
            remedy=f"`retrain runs show {run_id}` tells how far it came",
        )
    return record


def _stands(desk: Desk, caller: Caller, record: RunRecord) -> Retraining:
    output = record.output or {}
    asked: dict[str, Any] | None = None
    if record.status == "parked":
        number = output["deploymentDecision"].get("reviewId")
        about = {"runId": record.run_id, "modelId": record.model_id}
        if record.parked_for == "review" and number is not None:
            review = desk.get_review(caller, number)
            asked = {"kind": "review", "reviewId": number, "digest": review.digest, **about, **review.payload}
        else:
            asked = {"kind": "wait", "wakeAt": output.get("rollout", {}).get("wakeAt"), **about}
    return {"retraining_run": record.run_id, "retraining_result": output, "retraining_asked": asked}


def retraining_tool(app: "App | Desk", *, caller: Caller | None = None) -> "StructuredTool":
    """The agent as a LangChain tool, sync and async: the public request in, the public JSON out at its first pause or end.

    A refusal or failure is the tool's answer (status `error`): what was wrong, with which value, and what to do.

    Args:
        app: What `bootstrap` built, or a desk that the embedding program closes.
        caller: Who asks; an agent of the OS user where None.
    """
    from langchain_core.tools import StructuredTool, ToolException

    from agent.schemas import json_schema

    desk, asks = app if isinstance(app, Desk) else Desk(app), caller or this_agent()

    def run(**request: Any) -> dict[str, Any]:
        try:
            parsed, warnings = parse_request(request)
            output = _settled(desk, asks, desk.start(asks, parsed, warnings)).output
        except RetrainingError as error:
            raise ToolException(json.dumps(error_json(error), ensure_ascii=False)) from error
        return output or {}

    async def arun(**request: Any) -> dict[str, Any]:
        return await asyncio.to_thread(run, **request)

    return StructuredTool.from_function(
        run,
        arun,
        name=TOOL,
        description="Decide with evidence whether a production model should be retrained; train and judge a candidate, roll it "
        "out or refuse it. Answers with the public JSON: deploymentDecision.decision is deploy, canary, reject or "
        "manual_review (a person is asked; you cannot answer for him).",
        args_schema=json_schema("input"),
        handle_tool_error=True,
    )
