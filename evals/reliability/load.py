"""What becomes of a hundred requests at once for twenty models, on one server?

`python -m evals.reliability.load` starts `retrain serve` over a workspace of twenty models, once with its run store on SQLite and once
on PostgreSQL (Debian's, started here), and has a hundred callers ask at the same moment. Of five who ask for a model, three repeat one
request under one idempotency key, one insists under a key of his own when he is told that the model is busy, one takes that for an
answer. Registry, tracking, data and decisions are real; what trains and scores are real but small processes, since a hundred real
trainings would measure scikit-learn (`evals/reliability/load_server.py`).
"""

import asyncio
import json
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psutil

from evals import postgres
from evals.reliability.load_world import AS_OF, World
from evals.report import Row, arguments, publish

MODELS: Final = 20
QUICK_MODELS: Final = 3
STORES: Final = ("SQLite", "PostgreSQL")
AGAIN: Final = 5.0
"""Seconds until who insists asks again, where the server does not say."""
PATIENCE: Final = 1800.0
PROBES: Final = 0.5
BROKEN: Final = 0
MOST_BROKEN: Final = 5
"""Of one caller; then he has lost his request."""
ENDED: Final = ("finished", "parked", "failed", "aborted")


@dataclass(frozen=True)
class Request:
    """What one caller wants."""

    model: str
    key: str
    token: str
    insists: bool
    """Whether he asks again while the model is busy."""


@dataclass(frozen=True)
class Told:
    """What he got."""

    request: Request
    outcome: str
    """The run's status; `busy` where that was his answer; else what was wrong."""
    run_id: str | None = None
    statuses: tuple[int, ...] = ()


def requests_for(models: Sequence[str], tokens: Sequence[str]) -> list[Request]:
    """Five a model."""
    made: list[Request] = []
    for model in models:
        keys = (f"{model}-a", f"{model}-a", f"{model}-a", f"{model}-b", f"{model}-c")
        made += [
            Request(model, key, token, insists=not key.endswith("c")) for key, token in zip(keys, tokens, strict=True)
        ]
    return made


class Line:
    """A client that asks again when a connection breaks: the server closes idle ones, perhaps at that very moment."""

    def __init__(self, client: Any, headers: Mapping[str, str]) -> None:
        self._client, self._headers = client, headers

    async def send(self, method: str, path: str, seen: list[int], **given: Any) -> Any:
        """The answer; its status, or 0 for a broken connection, is added to `seen`."""
        import httpx

        while True:
            try:
                answer = await self._client.request(method, path, headers=self._headers, **given)
            except httpx.TransportError:
                seen.append(BROKEN)
                if seen.count(BROKEN) > MOST_BROKEN:
                    raise
                await asyncio.sleep(1)
                continue
            seen.append(answer.status_code)
            return answer


async def ask(client: Any, wanted: Request) -> Told:
    """As an honest caller does: he asks again when he is told to, and follows his run to its end."""
    line = Line(client, {"Authorization": f"Bearer {wanted.token}", "Idempotency-Key": wanted.key})
    body = {"modelId": wanted.model, "retrainingConfig": {"trigger": "manual", "asOf": AS_OF}}
    seen: list[int] = []
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        answer = await line.send("POST", "/v1/runs", seen, json=body)
        if answer.status_code == 202:
            return await follow(line, wanted, answer.json()["runId"], seen)
        if answer.status_code == 409:
            named = re.search(r"run (r\S+?)[ ;:.]", answer.json()["detail"] + " ")
            if named is None:
                return Told(wanted, f"busy with what? {answer.text}", None, tuple(seen))
            if not wanted.insists:
                known = (await line.send("GET", f"/v1/runs/{named[1]}", seen)).status_code == 200
                return Told(wanted, "busy" if known else f"busy with no run: {answer.text}", None, tuple(seen))
            # It says which run has the model: that one's end is awaited.
            await line.send("GET", f"/v1/runs/{named[1]}", seen, params={"wait": 60})
            await asyncio.sleep(AGAIN)
            continue
        if answer.status_code not in (429, 503):
            return Told(wanted, f"{answer.status_code}: {answer.text[:500]}", None, tuple(seen))
        await asyncio.sleep(float(answer.headers.get("retry-after", AGAIN)))
    return Told(wanted, "never begun", None, tuple(seen))


async def follow(line: Line, wanted: Request, run_id: str, seen: list[int]) -> Told:
    """Until it rests."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        answer = await line.send("GET", f"/v1/runs/{run_id}", seen, params={"wait": 30})
        if answer.status_code == 200 and answer.json()["status"] in ENDED:
            run = answer.json()
            good = run["status"] == "finished" and run.get("output") is not None
            return Told(wanted, "finished" if good else f"{run['status']}: {run.get('error')}", run_id, tuple(seen))
        if answer.status_code not in (200, 429, 503):
            return Told(wanted, f"{answer.status_code}: {answer.text[:500]}", run_id, tuple(seen))
        await asyncio.sleep(float(answer.headers.get("retry-after", AGAIN)))
    return Told(wanted, "never ended", run_id, tuple(seen))


async def probe(client: Any, token: str, ended: asyncio.Event) -> list[float]:
    """Seconds that a small question takes meanwhile."""
    took, line = list[float](), Line(client, {"Authorization": f"Bearer {token}"})
    while not ended.is_set():
        begun = time.monotonic()
        answer = await line.send("GET", "/v1/runs", [], params={"limit": 1})
        if answer.status_code == 200:
            took.append(time.monotonic() - begun)
        await asyncio.sleep(max(PROBES, time.monotonic() - begun))
    return took


async def all_at_once(url: str, wanted: Sequence[Request]) -> tuple[list[Told], list[float]]:
    """Everybody's outcome, and what the probes took."""
    import httpx

    limits, ended = httpx.Limits(max_connections=None, max_keepalive_connections=None), asyncio.Event()
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        probing = asyncio.create_task(probe(client, wanted[0].token, ended))
        told = list(await asyncio.gather(*(ask(client, each) for each in wanted)))
        ended.set()
        return told, await probing


# --- what it came to -------------------------------------------------------------------------------------------------


def rows_of(store: str, told: Sequence[Told], log: Path, took: Sequence[float], records: Sequence[Any]) -> list[Row]:
    """One set of rows for a store."""
    lost = [each for each in told if each.outcome not in ("finished", "busy")]
    for each in lost:
        print(f"  · {store}: {each}", flush=True)
    runs = {run.run_id: run for run in records}
    by_key = defaultdict[str, set[str]](set)
    for each in told:
        if each.run_id is not None:
            by_key[each.request.key].add(each.run_id)
    twice = sum(len(ids) > 1 for ids in by_key.values())
    accepted = {run_id for ids in by_key.values() for run_id in ids}
    unfinished = [run_id for run_id in accepted if run_id not in runs or runs[run_id].status != "finished"]
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    own = own_seconds(entries)
    answers = Counter(status for each in told for status in each.statuses)
    print(
        f"  · {store}: outcomes {dict(Counter(each.outcome[:40] for each in told))}, answers {dict(answers)}",
        flush=True,
    )
    n, name = len(told), f"{store}: "
    return [
        Row(f"{name}requests lost", len(lost), n=n, target="0", met=not lost),
        Row(f"{name}keys that gave two runs", twice, n=len(by_key), target="0", met=twice == 0),
        Row(
            f"{name}accepted runs that did not finish", len(unfinished), n=len(accepted), target="0", met=not unfinished
        ),
        Row(
            f"{name}overlaps of runs of one model",
            (met := overlaps(entries, runs)),
            n=len(own),
            target="0",
            met=met == 0,
        ),
        quantile(f"{name}the agent's own seconds a run, p50", own, 0.5),
        quantile(f"{name}the agent's own seconds a run, p95", own, 0.95),
        quantile(f"{name}seconds until a small question is answered meanwhile, p95", took, 0.95),
    ]


def own_seconds(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    """Of each drive, without training and scoring and the wait for their places."""
    outside = defaultdict[str, list[tuple[float, float]]](list)
    for each in entries:
        if each["kind"] in ("training", "scoring"):
            outside[each["run"]].append((each["begun"], each["ended"]))
    said = defaultdict[str, list[float]](list)
    for each in entries:
        if each["kind"] == "line":
            said[each["run"]].append(each["at"])
    own: list[float] = []
    for each in entries:
        begun, ended = each.get("begun", 0.0), each.get("ended", 0.0)
        # A repetition of a run that has ended is no drive of it.
        if each["kind"] == "drive" and any(begun <= at <= ended for at in said[each["run"]]):
            inside = [span for span in outside[each["run"]] if begun <= span[0] <= ended]
            own.append(ended - begun - sum(end - begin for begin, end in _merged(inside)))
    return own


def _merged(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans without overlap: both sides are scored at once."""
    begin, end = None, 0.0
    for first, last in sorted(spans):
        if begin is None:
            begin, end = first, last
        elif first <= end:
            end = max(end, last)
        else:
            yield begin, end
            begin, end = first, last
    if begin is not None:
        yield begin, end


def overlaps(entries: Sequence[Mapping[str, Any]], runs: Mapping[str, Any]) -> int:
    """Pairs of runs of one model of which one began before the other had ended, by what they say while they hold it."""
    spans: dict[str, tuple[float, float]] = {}
    for each in entries:
        if each["kind"] == "line":
            begin, _ = spans.get(each["run"], (each["at"], 0.0))
            spans[each["run"]] = (begin, each["at"])
    of_model = defaultdict[str, list[tuple[float, float]]](list)
    for run_id, span in spans.items():
        of_model[runs[run_id].model_id].append(span)
    found = 0
    for each in of_model.values():
        each.sort()
        found += sum(later[0] < earlier[1] for earlier, later in pairwise(each))
    return found


def quantile(name: str, values: Sequence[float], share: float) -> Row:
    """With an interval by order statistics; as wide as all values where there are too few."""
    from scipy import stats

    ordered, n = sorted(values), len(values)
    if n < 2:
        return Row(name, ordered[0] if ordered else float("nan"), n=n)
    low, high = (int(stats.binom.ppf(each, n, share)) for each in (0.025, 0.975))
    value = statistics.quantiles(ordered, n=100, method="inclusive")[round(share * 100) - 1]
    return Row(name, value, ordered[max(0, low - 1)], ordered[min(n - 1, high)], n)


def measure(store: str, world: World) -> list[Row]:
    """The load on one kind of store."""
    with ExitStack() as stack:
        url = "sqlite:///.retraining/store.db"
        if store == "PostgreSQL":
            url = postgres.url_of(stack.enter_context(postgres.running()))
        folder = world.over(store.lower(), url)
        begun = time.monotonic()
        with world.served(folder) as served:
            told, took = asyncio.run(all_at_once(served.url, requests_for(world.models, served.tokens)))
            used = psutil.Process(served.pid).cpu_times()
        print(f"  · {store}: {time.monotonic() - begun:.0f} s", flush=True)
        rows = rows_of(store, told, served.log, took, world.records(folder))
        cpu, runs = used.user + used.system, max(1, rows[-2].n or 0)
        return [
            *rows,
            Row(f"{store}: CPU seconds of the server's own process a run, its start included", cpu / runs, n=runs),
        ]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when a target is missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--store", choices=STORES, action="append", help="only this one")
    parser.add_argument("--models", type=int, default=MODELS, metavar="N", help="five requests a model")
    asked = parser.parse_args(argv)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="retraining-eval-", ignore_cleanup_errors=True) as name:
        world = World(Path(name), QUICK_MODELS if asked.quick else asked.models)
        for store in asked.store or STORES:
            try:
                rows += measure(store, world)
            except postgres.NoServer as missing:
                print(f"  · {store} is left out: {missing}", flush=True)
    publish(rows, asked.json, quick=asked.quick)
    return 0 if rows and all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
