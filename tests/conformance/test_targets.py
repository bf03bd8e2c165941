"""One suite for every deployment target: alias, command, memory and Seldon. Then what only a command can do wrong."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests import kubernetes_double
from tests.conformance.batch_world import World
from tools.adapters.alias_target import AliasTargetAdapter
from tools.adapters.command_target import CommandTargetAdapter, command_environment, parse_status
from tools.adapters.memory_target import Call, MemoryTarget
from tools.adapters.seldon.target import SeldonTargetAdapter
from tools.contracts.peers import DeploymentReply, DeploymentRequest, ModelArtifact, TrafficConfig
from tools.contracts.profile import CommandTarget, SeldonTarget
from tools.errors import BadInput, TimedOut, Unavailable
from tools.ports import DeploymentTarget

DOCS = Path(__file__).parents[2] / "docs" / "targets.md"
Make = Callable[[Path], DeploymentTarget]


def request(version: str = "7", weight: int | None = 100, previous: str | None = "6") -> DeploymentRequest:
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=f"models:/prices/{version}", version=version),
        deployment_strategy="canary" if weight not in (None, 0, 100) else "rolling",
        traffic_config=None if weight is None else TrafficConfig(canary_percent=weight),
        previous_version=previous,
        idempotency_key=f"run-1/{version}-{weight}",
    )


def command(folder: Path, code: str, *, can_split: bool = True, seconds: float = 30) -> CommandTargetAdapter:
    """A target whose three commands are one Python script."""
    (folder / "target.py").write_text(code)
    argv = (sys.executable, "target.py")
    limit = timedelta(seconds=seconds)
    return CommandTargetAdapter(
        CommandTarget(apply=argv, status=argv, undo=argv, can_split=can_split, time_limit=limit), folder
    )


def documented(folder: Path, can_split: bool = True) -> CommandTargetAdapter:
    """The example of docs/targets.md, as it stands there."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    return command(folder, blocks[0], can_split=can_split)


TARGETS: dict[str, Make] = {
    # A day passes between any two looks at the clock, so there is always a next partition to prove by.
    "batch": lambda folder: World(folder, days_a_look=1).target,
    "alias": lambda _: AliasTargetAdapter(),
    "command": documented,
    "command that cannot split": lambda folder: documented(folder, can_split=False),
    "memory": lambda _: MemoryTarget(),
    "memory that cannot split": lambda _: MemoryTarget(can_split=False),
    "memory that cannot prove": lambda _: MemoryTarget(can_prove=False),
}
SELDON = SeldonTarget(name="prices", namespace="models", time_limit=timedelta(seconds=20))


@pytest.fixture(params=[*TARGETS, "seldon"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeploymentTarget]:
    if request.param != "seldon":
        yield TARGETS[request.param](tmp_path)
        return
    with kubernetes_double.running() as (_, _, client):
        yield SeldonTargetAdapter(SELDON, "prices", lambda uri: f"s3://b/{uri[8:]}", client, poll_seconds=0.02)


def observed(target: DeploymentTarget, weights: dict[str, int]) -> dict[str, int] | None:
    """What a reply must carry where `weights` are served."""
    return weights if target.abilities.can_prove else None


def test_apply_of_everything_serves_only_that_version(target: DeploymentTarget):
    reply = target.apply(request("7", 100))
    assert reply.observed_weights == observed(target, {"7": 100})
    assert target.status(request("7")).observed_weights == observed(target, {"7": 100})


def test_apply_without_a_weight_means_everything_in_a_rolling_deployment(target: DeploymentTarget):
    assert target.apply(request("7", None)).observed_weights == observed(target, {"7": 100})


def test_apply_of_a_split_is_served_or_refused_as_declared(target: DeploymentTarget):
    target.apply(request("6", 100, None))
    if target.abilities.can_split:
        assert target.apply(request("7", 10)).observed_weights == observed(target, {"6": 90, "7": 10})
        return
    with pytest.raises(BadInput, match="cannot split traffic: 10 %"):
        target.apply(request("7", 10))
    assert target.status(request("6")).observed_weights == observed(target, {"6": 100})


def test_apply_twice_ends_in_the_same_place(target: DeploymentTarget):
    # Memory and the hour are of the moment.
    first, second = (target.apply(request("7", 100)).model_copy(update={"monitoring": None}) for _ in range(2))
    assert second == first


def test_apply_of_zero_leaves_the_previous_version(target: DeploymentTarget):
    target.apply(request("6", 100, None))
    assert target.apply(request("7", 0)).observed_weights == observed(target, {"6": 100})


def test_undo_gives_all_traffic_back_and_may_be_repeated(target: DeploymentTarget):
    target.apply(request("6", 100, None))
    target.apply(request("7", 100))
    for _ in range(2):
        assert target.undo(request("6", 100, None)).observed_weights == observed(target, {"6": 100})
    assert target.status(request("6")).observed_weights == observed(target, {"6": 100})


def test_canary_without_a_weight_is_refused(target: DeploymentTarget):
    vague = request("7", None).model_copy(update={"deployment_strategy": "canary"})
    with pytest.raises(BadInput, match="names no weight"):
        target.apply(vague)


def test_health_is_never_claimed_without_proof(target: DeploymentTarget):
    assert target.abilities.can_prove or target.apply(request()).healthy is None


def test_reply_is_a_deployment_engineer_message(target: DeploymentTarget):
    content = target.apply(request()).to_json_dict()
    assert {"deploymentConfig", "servingEndpoint", "monitoring"} <= content.keys()
    assert DeploymentReply.model_validate(content).to_json_dict() == content


# --- commands --------------------------------------------------------------------------------------------------

SAYS = "import sys\nprint({text!r})\n"


def test_command_that_lies_about_apply_is_visible_in_the_observed_weights(tmp_path: Path):
    liar = command(tmp_path, SAYS.format(text='{"weights": {"6": 100}, "healthy": true}'))
    reply = liar.apply(request("7", 100))
    assert (reply.observed_weights, reply.healthy) == ({"6": 100}, True)


def test_undo_that_does_nothing_is_visible_in_the_observed_weights(tmp_path: Path):
    liar = command(tmp_path, SAYS.format(text='{"weights": {"7": 100}}'))
    reply = liar.undo(request("6", 100, None))
    assert (reply.observed_weights, reply.healthy) == ({"7": 100}, None)


RECORD = """
import json, os, sys
line = {"request": json.load(sys.stdin), "cwd": os.getcwd(), "argv": sys.argv[1:], "session": os.getsid(0)}
line["environment"] = {k: v for k, v in os.environ.items() if k.startswith(("RETRAINING_", "OPENAI_")) or "TOKEN" in k}
print(json.dumps(line), file=open("calls.jsonl", "a"))
print('{"weights": {"7": 100}, "healthy": true}')
"""


def test_command_gets_request_environment_and_folder_but_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GIT_TOKEN", "secret")
    command(tmp_path, RECORD).apply(request("7", 100))
    apply, status = (json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines())
    assert apply["request"] == request("7", 100).to_json_dict()
    assert "infrastructure" not in apply["request"]
    asked = {
        "RETRAINING_ACTION": "apply",
        "RETRAINING_VERSION": "7",
        "RETRAINING_WEIGHT": "100",
        "RETRAINING_IDEMPOTENCY_KEY": "run-1/7-100",
    }
    assert apply["environment"] == asked
    assert status["environment"] == asked | {"RETRAINING_ACTION": "status"}
    assert Path(apply["cwd"]) == tmp_path.resolve()
    assert apply["session"] != os.getsid(0)


def test_secrets_and_our_own_settings_stay_behind_and_the_rest_is_kept():
    ours = {
        "PATH": "/bin",
        "KUBECONFIG": "k",
        "OPENAI_BASE_URL": "x",
        "MLFLOW_TRACKING_PASSWORD": "x",
        "PGPASSWORD": "x",
        "github_token": "x",
        "APP_SECRET": "x",
        "RETRAIN_STORE": "x",
        "RETRAINING_WEIGHT": "55",
    }
    quiet = request("7", None).model_copy(update={"idempotency_key": None})
    assert command_environment(ours, "status", quiet, None) == {
        "PATH": "/bin",
        "KUBECONFIG": "k",
        "RETRAINING_ACTION": "status",
        "RETRAINING_VERSION": "7",
    }


def test_arguments_are_never_read_by_a_shell(tmp_path: Path):
    script = tmp_path / "target.py"
    script.write_text(RECORD)
    hostile = (sys.executable, "target.py", "$(touch pwned); touch pwned", "*")
    spec = CommandTarget(apply=hostile, status=hostile, undo=hostile)
    CommandTargetAdapter(spec, tmp_path).status(request())
    assert json.loads((tmp_path / "calls.jsonl").read_text())["argv"] == list(hostile[2:])
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("ok", "is not JSON"),
        ('starting\n{"weights": {"7": 100}}', "is not JSON"),
        ('{"weights": {"7": NaN}}', "NaN is no number"),
        ('{"weights": {"7": 60, "7": 40}}', "stands twice"),
        ("[]", "is no JSON object"),
        ("{}", "has no weights"),
        ('{"weights": null, "healthy": true}', "has no weights"),
        ('{"weights": {}}', "sum to 0, not 100"),
        ('{"weights": {"7": 99}}', "sum to 99, not 100"),
        ('{"weights": {"6": -1, "7": 101}}', "no whole percent"),
        ('{"weights": {"6": 50.5, "7": 49.5}}', "no whole percent"),
        ('{"weights": {"7": true}}', "no whole percent"),
        ('{"weights": {"7": "100"}}', "no whole percent"),
        ('{"weights": {"7": 100}, "healthy": "yes"}', "has a health"),
        ('{"weights": {"7": 100}, "healthy": 1}', "has a health"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_status_that_makes_no_sense_is_unavailable_with_value_and_remedy(text: str, says: str):
    with pytest.raises(Unavailable, match=re.escape(says)) as caught:
        parse_status(text)
    assert "docs/targets.md" in str(caught.value.remedy)


@pytest.mark.parametrize("health", [True, False, None])
def test_status_that_makes_sense_is_read_whole(health: bool | None):
    text = json.dumps({"weights": {"6": 90, "7": 10}, "healthy": health, "extra": 1}, indent=2)
    assert parse_status(text) == ({"6": 90, "7": 10}, health)


def test_failing_command_is_unavailable_with_its_last_lines(tmp_path: Path):
    broken = command(tmp_path, "import sys\nfor i in range(30): print('line', i, file=sys.stderr)\nsys.exit(3)\n")
    with pytest.raises(Unavailable, match=r"apply command failed with exit code 3: line 20\n") as caught:
        broken.apply(request())
    assert caught.value.message.endswith("line 29")


def test_command_that_dies_of_a_signal_says_so(tmp_path: Path):
    with pytest.raises(Unavailable, match=r"undo command failed with signal 9 \(nothing on standard error\)"):
        command(tmp_path, "import os\nos.kill(os.getpid(), 9)\n").undo(request())


def test_missing_command_is_unavailable_and_named(tmp_path: Path):
    argv = ("./no-such-command",)
    missing = CommandTargetAdapter(CommandTarget(apply=argv, status=argv, undo=argv), tmp_path)
    with pytest.raises(Unavailable, match=r"cannot be started: \./no-such-command"):
        missing.status(request())


def test_output_without_end_is_refused(tmp_path: Path):
    with pytest.raises(Unavailable, match="printed more than"):
        command(tmp_path, "print('x' * 2_000_000)\n").status(request())


HANGS = """
import subprocess, sys, time
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
open("child.pid", "w").write(str(child.pid))
print("waiting for a lock", file=sys.stderr, flush=True)
time.sleep(60)
"""


def test_command_that_hangs_is_timed_out_and_its_whole_group_is_killed(tmp_path: Path):
    start = time.monotonic()
    with pytest.raises(TimedOut, match="did not finish within 2 seconds and was killed: waiting for a lock"):
        command(tmp_path, HANGS, seconds=2).apply(request())
    assert time.monotonic() - start < 20
    pid = int((tmp_path / "child.pid").read_text())
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


LEAVES_A_SERVER = """
import subprocess, sys
server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open("server.pid", "w").write(str(server.pid))
print('{"weights": {"7": 100}}')
"""


def test_server_left_running_by_a_command_neither_blocks_nor_dies(tmp_path: Path):
    leaving = command(tmp_path, LEAVES_A_SERVER)
    start = time.monotonic()
    assert leaving.status(request()).observed_weights == {"7": 100}
    assert time.monotonic() - start < 20
    server = psutil.Process(int((tmp_path / "server.pid").read_text()))
    assert server.is_running()
    server.kill()


def test_documented_commands_can_be_tried_by_hand(tmp_path: Path):
    documented(tmp_path)
    for action in ("undo", "status"):
        out = subprocess.run(
            [sys.executable, "target.py"],
            cwd=tmp_path,
            input="{}",
            text=True,
            capture_output=True,
            check=True,
            env=os.environ | {"RETRAINING_ACTION": action, "RETRAINING_VERSION": "6"},
        ).stdout
    assert json.loads(out) == {"weights": {"6": 100}, "healthy": None}


# --- memory ----------------------------------------------------------------------------------------------------


def test_memory_target_keeps_a_log_of_calls():
    target = MemoryTarget()
    target.apply(request("7", 10))
    target.status(request("7", 10))
    target.undo(request("6", 100))
    assert target.calls == [
        Call("apply", "7", 10, "run-1/7-10"),
        Call("status", "7", None, "run-1/7-10"),
        Call("undo", "6", 100, "run-1/6-100"),
    ]


@pytest.mark.parametrize("health", [True, False, None])
def test_memory_target_reports_the_health_it_was_given(health: bool | None):
    target = MemoryTarget()
    target.healthy = health
    assert target.apply(request()).healthy is health


def test_memory_target_can_lie_and_fail_on_demand():
    target = MemoryTarget()
    target.serves = {"6": 100}
    assert (target.apply(request("7")).observed_weights, target.weights) == ({"6": 100}, {"7": 100})
    target.failure = Unavailable("down")
    with pytest.raises(Unavailable, match="down"):
        target.status(request("7"))
