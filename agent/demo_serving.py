"""What does a rollout look like on real servers? `retrain demo --serve` plays one, under a steady load of real rows.

A champion of the electricity example is served, a better version is trained and rolled out as a canary while requests come in, and
then an engineer goes back. As in the rest of the demo nothing here decides: the run is the one of `retrain run` and `retrain watch`.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent.bootstrap import App, bootstrap, serving_target
from agent.demo import IMPROVE_AT, first_model, lay_out, make_champion
from agent.entrypoints.cli.render import Screen, run_lines
from agent.requests import request_from_flags
from agent.services import serving
from tools.adapters.serving.asking import bodies
from tools.adapters.serving.load import Reply, SteadyLoad
from tools.adapters.serving.target import ServingTargetAdapter
from tools.errors import Unavailable

MODEL: Final = "electricity"
PER_SECOND: Final = 30.0
LONGEST: Final = 240.0
"""Seconds for the whole canary; it is left to `retrain watch` after that."""
_TARGET: Final = """
target:
  kind: serving
rollout:
  risk: high              # a clear win still goes through a canary
  mirror: 100
  canary_weights: [25, 50]
  step_pause: 5s
  bake: 5s
  promote_on: no_harm     # minutes of traffic exclude no small harm; they show a large one
  max_duration: 10m
"""


def play(folder: Path, screen: Screen) -> None:
    """On a fresh local MLflow in `folder`; all servers are stopped at the end.

    Raises:
        NotFound, BadInput: As `agent.demo.play`. Unavailable: The servers could not be built or started.
    """
    started = time.monotonic()
    stop_earlier(folder)
    lay_out(folder)
    profile_file = folder / "profiles" / f"{MODEL}.yaml"
    profile_file.write_text(profile_file.read_text(encoding="utf-8") + _TARGET, encoding="utf-8")
    app = bootstrap(environ=os.environ, start=folder, workspace=folder, progress=screen.progress)
    profile = app.deps.load_profile(MODEL)
    target = serving_target(app.workspace, profile, screen.progress)
    try:
        _head(
            screen, "0. Serve the champion", "MLServer in an environment of its own, Envoy in front, all on loopback."
        )
        version = make_champion(app, first_model(app))
        up = serving.up(app.deps, profile, target)
        _say(screen, [f"  version {version} answers at {up.url}"])
        rows = folder / "requests.parquet"
        app.deps.data.write_window(profile.data, None, app.deps.clock(), rows, 2_000)
        if up.url is None:
            raise Unavailable("the endpoint has no address", thing="serving")
        with SteadyLoad(up.url, bodies(rows, profile.data.features), PER_SECOND) as load:
            _head(
                screen,
                "1. A canary",
                f"{PER_SECOND:.0f} requests a second come in; a drift alert asks for a new version.",
            )
            output = _canary(app)
            _say(screen, run_lines(output))
            _say(screen, ["", *_told(load.replies, target)])
            _head(
                screen,
                "2. Go back",
                "An engineer distrusts the new version: back to the last known good one, with proof.",
            )
            request = request_from_flags(MODEL)
            back = app.runs.start(
                app.order("rollback", request, reason="the desk sees odd prices since the last release")
            )
            _say(screen, run_lines(back))
            time.sleep(2)
        _say(screen, ["", *_told(load.replies, target)])
    finally:
        target.control.down()
    _say(screen, ["", f"Done in {time.monotonic() - started:.0f} s; the servers are stopped.", *_next(folder)])


def stop_earlier(folder: Path) -> None:
    """Servers that a killed demo left in the folder."""
    from tools.adapters.serving.control import Control
    from tools.adapters.serving.layout import layout_of

    Control(layout_of(folder / ".retraining", MODEL)).down()


def _canary(app: App) -> dict[str, Any]:
    """The run, and each look that is due, until it has ended or takes too long."""
    output = app.runs.start(app.order("retrain", request_from_flags(MODEL, trigger="drift", as_of=IMPROVE_AT)))
    watch, until = app.watch(), time.monotonic() + LONGEST
    run_id = str(output["runId"])
    while app.deps.store.get_run(run_id).status != "finished" and time.monotonic() < until:
        for look in watch.looks(MODEL):
            output = output if look.output is None else look.output
            if look.error is not None:
                app.deps.progress(f"this look failed: {look.error.message}")
        time.sleep(0.5)
    return output


def _told(replies: Sequence[Reply], target: ServingTargetAdapter) -> list[str]:
    """What the clients saw."""
    seen = list(replies)
    by = Counter(reply.version for reply in seen if not reply.failed)
    failed = sum(reply.failed for reply in seen)
    shares = ", ".join(f"version {version}: {count:,}" for version, count in sorted(by.items(), key=str))
    served = " and ".join(f"{weight} % to version {version}" for version, weight in sorted(target.routed().items()))
    return [f"  {len(seen):,} requests so far, {failed:,} failed; answered by {shares}", f"  now: {served}"]


def _next(folder: Path) -> list[str]:
    return [
        "",
        f"  retrain serving up {MODEL} -w {folder}        serves the champion again, and prints a curl line",
        f"  {folder}/.retraining/serving/{MODEL}/answers   what each version answered",
    ]


def _head(screen: Screen, title: str, text: str) -> None:
    _say(screen, ["", "─" * 100, title, text, ""])


def _say(screen: Screen, lines: list[str]) -> None:
    screen.result(None, lines)
