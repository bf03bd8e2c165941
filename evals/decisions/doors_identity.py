"""Is it one decision, whichever door it is asked through? Twenty-four cases of evidence through six doors, over real transports."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from agent.bootstrap import App
from agent.desk import Desk
from evals.decisions.doors_cases import CASES, Case, app
from evals.loopback import running
from evals.report import Row, share

WAIT: Final = 120
Output = dict[str, Any]


def rows(cases: Sequence[Case] = CASES) -> Iterator[Row]:
    """For each door, on how many cases what it gave is what the first door gave, byte for byte."""
    same = dict.fromkeys(DOORS, 0)
    kinds: set[tuple[str, str]] = set()
    for case in cases:
        told = {door: _canonical(_asked(ask, case)) for door, ask in DOORS.items()}
        expected = told["command line"]
        kinds.add((json.loads(expected)["decision"]["decision"], json.loads(expected)["training"]))
        for door, text in told.items():
            same[door] += text == expected
            if text != expected:
                print(f"  · {case.name}: {door} said {text[:2000]}, the command line {expected[:2000]}", flush=True)
    for door, hits in same.items():
        yield share(f"the same decision, {door}", hits, len(cases), f"{len(cases)} of {len(cases)}", hits == len(cases))
    yield Row("kinds of outcome among them (decision and what became of the training)", float(len(kinds)), n=len(cases))


def _canonical(output: Output) -> str:
    """Comparison, decision, reasons and plan, in one spelling."""
    decision = {k: v for k, v in output["deploymentDecision"].items() if k != "reviewId"}
    kept = {
        "comparison": output.get("comparison"),
        "decision": decision,
        "monitoring": output.get("monitoring"),
        "training": output["retrainingResult"]["status"],
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _asked(ask: "Callable[[Case, Path], Output]", case: Case) -> Output:
    with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as folder:
        return ask(case, Path(folder))


# --- the doors -----------------------------------------------------------------------------------------------------------


def _process(case: Case, folder: Path, *words: str) -> list[str]:
    return [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "evals.decisions.doors_cases",
        case.name,
        str(folder),
        "retrain",
        *words,
    ]


def _command_line(case: Case, folder: Path) -> Output:
    words = _process(case, folder, "run", "--request", "-", "--json", "--quiet")
    ended = subprocess.run(
        words, input=json.dumps(case.asked), capture_output=True, text=True, timeout=300, check=False
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{case.name}: exit code {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout)


def _mcp(case: Case, folder: Path) -> Output:
    from mcp import Client, StdioServerParameters

    program, *words = _process(case, folder, "mcp", "--quiet")

    async def play() -> Any:
        async with Client(StdioServerParameters(command=program, args=words), read_timeout_seconds=300) as client:
            return await client.call_tool("start_retraining", {**case.asked, "waitSeconds": WAIT})

    result = asyncio.run(play())
    if result.is_error:
        raise RuntimeError(f"{case.name}: {result.content}")
    return result.structured_content


def _http(case: Case, folder: Path) -> Output:
    import httpx

    with served(app(case, folder)) as (url, tokens):
        headers = {"Authorization": f"Bearer {tokens['bot']}"}
        with httpx.Client(base_url=url, headers=headers, timeout=WAIT + 30) as client:
            begun = client.post("/v1/runs", params={"wait": 30}, json=case.asked)
            begun.raise_for_status()
            until = time.monotonic() + WAIT
            while True:
                found = client.get(begun.headers["location"])
                if found.status_code == 200 and found.json().get("status") in ("parked", "finished"):
                    return found.json()["output"]
                if time.monotonic() > until:
                    raise RuntimeError(f"{case.name}: {found.status_code} {found.text}")
                time.sleep(0.1)


def _a2a(case: Case, folder: Path) -> Output:
    from tests.graph.a2a_client import begin, client, decision_bytes

    async def play(url: str, token: str) -> bytes:
        async with client(key=token, url=url) as asked:
            return decision_bytes(await begin(asked, {"skill": "start_retraining", "request": case.asked}))

    with served(app(case, folder)) as (url, tokens):
        return json.loads(asyncio.run(play(url, tokens["bot"])))


def _subgraph(case: Case, folder: Path) -> Output:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph

    from agent.entrypoints.embed import Retraining, subgraph

    with closing(Desk(app(case, folder))) as desk:
        parent = StateGraph(Retraining)
        parent.add_node("retrain", subgraph(desk))
        parent.add_edge(START, "retrain")
        made = parent.compile(checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "1"}}
        ended = made.invoke({"retraining_request": case.asked}, config)
        if "retraining_result" in ended:
            return ended["retraining_result"]
        # Interrupted: the question stands in the parent, the run's JSON in the store.
        return _only_run(desk)


def _tool(case: Case, folder: Path) -> Output:
    from agent.entrypoints.embed import retraining_tool

    with closing(Desk(app(case, folder))) as desk:
        return retraining_tool(desk).invoke(case.asked)


def _only_run(desk: Desk) -> Output:
    from agent.entrypoints.embed import this_agent

    (run,) = desk.list_runs(this_agent())
    assert run.output is not None
    return run.output


DOORS: Final[dict[str, Callable[[Case, Path], Output]]] = {
    "command line": _command_line,
    "HTTP": _http,
    "A2A": _a2a,
    "MCP": _mcp,
    "subgraph": _subgraph,
    "StructuredTool": _tool,
}


@contextmanager
def served(opened: App) -> Generator[tuple[str, dict[str, str]]]:
    """(address, keys by their name) of a server on loopback with every door: the agent `bot`, the people `ada` and `mallory`."""
    from agent.entrypoints.server.app import application
    from agent.entrypoints.server.doors import all_doors
    from agent.entrypoints.server.process import listen, url_of, uvicorn_server
    from agent.services.keys import Keys

    keys = Keys(opened.deps.store, opened.deps.clock, is_user=lambda _: False)
    for known in keys.list():
        keys.revoke(known.name, by="root")
    tokens = {"bot": keys.create("bot", {"read", "run"}, by="root", kind="agent").token}
    for person in ("ada", "mallory"):
        tokens[person] = keys.create(person, {"read", "run", "review"}, by=person).token
    taken = listen("127.0.0.1", 0)
    url = url_of(taken)
    server = uvicorn_server(application(opened, keys=keys, doors=all_doors(url)))
    with running(server, taken):
        yield url, tokens
