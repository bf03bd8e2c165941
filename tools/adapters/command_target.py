# pyright: basic
"""The user's own apply, status and undo, run as commands. The contract with them stands in docs/targets.md.

A command is an argument list, never a shell string. It runs in a process group of its own with a time limit and without
our secrets, and its word is not taken for what it did: after apply and undo, status is asked.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tools.adapters.alias_target import wanted_weight, whole_weight
from tools.adapters.plain_target import NothingToLoad
from tools.contracts.peers import DeploymentReply, DeploymentRequest
from tools.contracts.profile import CommandTarget
from tools.errors import TimedOut, Unavailable

MAX_OUTPUT = 1_000_000
"""Bytes of standard output that are read."""
TAIL_LINES = 10
GRACE_SECONDS = 2.0
"""Between asking a command that hangs to stop and killing it."""
_REMEDY = 'status must print {"weights": {VERSION: PERCENT}, "healthy": true|false|null}; see docs/targets.md'


class CommandTargetAdapter(NothingToLoad):
    """Port `DeploymentTarget` over three commands.

    Args:
        spec: The commands, whether they can split traffic, and the time limit of each call.
        cwd: Folder they run in; relative paths in the argument lists start here.
    """

    can_prove = True

    def __init__(self, spec: CommandTarget, cwd: Path) -> None:
        self._spec = spec
        self._cwd = cwd
        self.can_split = spec.can_split

    @property
    def abilities(self) -> "CommandTargetAdapter":
        """Splits as the profile says; proves through status."""
        return self

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Runs apply, then reports what status says.

        Raises:
            Unavailable: A command failed, or status made no sense.
            TimedOut: A command hung; its process group was killed.
            BadInput: A split was asked for that the profile says it cannot do; nothing was run.
        """
        weight = wanted_weight(request) if self.can_split else whole_weight(request, "command")
        self._run("apply", self._spec.apply, request, weight)
        return self.status(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """Runs status. Raises `Unavailable` for anything but whole weights that sum to 100, and `TimedOut`."""
        weight = None if request.traffic_config is None else request.traffic_config.canary_percent
        weights, healthy = parse_status(self._run("status", self._spec.status, request, weight))
        return DeploymentReply(
            deployment_config={"strategy": {"type": request.deployment_strategy}},
            traffic_config=request.traffic_config,
            observed_weights=weights,
            healthy=healthy,
        )

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """Runs undo, then reports what status says. Raises `Unavailable`, `TimedOut`."""
        self._run("undo", self._spec.undo, request, 100)
        return self.status(request)

    def _run(self, action: str, argv: tuple[str, ...], request: DeploymentRequest, weight: int | None) -> str:
        """Standard output of the command."""
        return run_command(
            action,
            argv,
            cwd=self._cwd,
            environment=command_environment(os.environ, action, request, weight),
            content=json.dumps(request.to_json_dict()).encode(),
            seconds=self._spec.time_limit.total_seconds(),
        )


def run_command(
    action: str, argv: tuple[str, ...], *, cwd: Path, environment: dict[str, str], content: bytes, seconds: float
) -> str:
    """Standard output of one of the target's commands, given `content` on standard input.

    Raises:
        Unavailable: It cannot be started, failed, or printed without end.
        TimedOut: It hung; its process group was killed.
    """
    # Files, not pipes: a server that the command leaves running would hold a pipe open until the time limit.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(content)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                argv, cwd=cwd, env=environment, stdin=stdin, stdout=out, stderr=err, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"the target's {action} command cannot be started: {argv[0]}: {error}",
                thing=f"target.{action}",
                value=list(argv),
                remedy="name an executable file; relative paths start in the workspace",
            ) from error
        _wait(process, action, err, seconds)
        if process.returncode != 0:
            how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            raise Unavailable(
                f"the target's {action} command failed with {how}{_tail(err)}",
                thing=f"target.{action}",
                value=process.returncode,
                remedy="run the command by hand with the same request; see docs/targets.md",
            )
        return _stdout(out, action)


def _wait(process: "subprocess.Popen[bytes]", action: str, err: IO[bytes], limit: float) -> None:
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired as error:
        _kill_group(process)
        raise TimedOut(
            f"the target's {action} command did not finish within {limit:g} seconds and was killed{_tail(err)}",
            thing=f"target.{action}",
            value=limit,
            remedy="raise target.time_limit, or find out what the command waits for",
        ) from error
    except BaseException:
        # Interrupted by the user: the command is in a session of its own and would outlive us.
        _kill_group(process)
        raise


def command_environment(
    environment: Mapping[str, str], action: str, request: DeploymentRequest, weight: int | None
) -> dict[str, str]:
    """Ours without the secrets and settings that are ours alone, and what is asked."""
    kept = {name: value for name, value in environment.items() if not _is_ours(name.upper())}
    kept["RETRAINING_ACTION"] = action
    kept["RETRAINING_VERSION"] = request.model_artifact.version
    if weight is not None:
        kept["RETRAINING_WEIGHT"] = str(weight)
    if request.idempotency_key is not None:
        kept["RETRAINING_IDEMPOTENCY_KEY"] = request.idempotency_key
    return kept


def _is_ours(name: str) -> bool:
    # RETRAINING_* of an outer command would be read as this one's.
    prefixes = ("OPENAI_", "RETRAIN_", "RETRAINING_")
    return name.startswith(prefixes) or name.endswith(("_TOKEN", "_SECRET", "PASSWORD"))


def parse_status(text: str) -> tuple[dict[str, int], bool | None]:
    """Weights and health as status printed them.

    Raises:
        Unavailable: Not JSON, weights that are no whole percents or do not sum to 100, health that is not
            true, false or null. A reply that is half right is not used at all.
    """
    try:
        content = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise _bad_status(f"is not JSON ({error})", text) from error
    if not isinstance(content, dict):
        raise _bad_status("is no JSON object", text)
    weights, healthy = content.get("weights"), content.get("healthy")
    if not isinstance(weights, dict):
        raise _bad_status("has no weights", text)
    for version, weight in weights.items():
        if type(weight) is not int or not 0 <= weight <= 100:
            raise _bad_status(f"gives version {version!r} a weight that is no whole percent from 0 to 100", weight)
    if sum(weights.values()) != 100:
        raise _bad_status(f"has weights that sum to {sum(weights.values())}, not 100", weights)
    if healthy is not None and not isinstance(healthy, bool):
        raise _bad_status("has a health that is not true, false or null", healthy)
    return weights, healthy


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return content


def _bad_status(what: str, value: object) -> Unavailable:
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return Unavailable(
        f"what the target's status command printed {what}: {shown[:200]!r}",
        thing="target.status",
        value=shown[:200],
        remedy=_REMEDY,
    )


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Asks the whole group to stop, then makes it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        except PermissionError:  # macOS says so of a group of zombies
            break
        if sign == signal.SIGTERM:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    process.wait()


def _stdout(out: IO[bytes], action: str) -> str:
    out.seek(0)
    raw = out.read(MAX_OUTPUT + 1)
    if len(raw) > MAX_OUTPUT:
        raise Unavailable(
            f"the target's {action} command printed more than {MAX_OUTPUT} bytes",
            thing=f"target.{action}",
            remedy="print logs to standard error",
        )
    return raw.decode(errors="replace")


def _tail(err: IO[bytes]) -> str:
    """The last lines of standard error, ready to stand behind a message."""
    size = err.seek(0, os.SEEK_END)
    err.seek(max(0, size - 8_000))
    lines = err.read().decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
    return ": " + "\n".join(lines) if lines else " (nothing on standard error)"
