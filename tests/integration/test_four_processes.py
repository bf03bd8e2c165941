"""A whole run across four processes: the agent, and its three peers as agents of their own, over Agent2Agent on loopback."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.shop import NOW, Shop

pytestmark = pytest.mark.reliability
TOKEN = "only-for-these-tests"
ROLES = ("drift-detective", "model-evaluator", "deployment-engineer")


class Peer:
    """One process; `log` is what it wrote, once it has ended."""

    def __init__(self, process: "subprocess.Popen[str]", role: str) -> None:
        self._process, self.role, self.log = process, role, ""

    def address(self) -> str:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            found = re.search(r"answers at (http://\S+)", line)
            if found:
                return found[1]
        raise AssertionError(f"{self.role} ended before it served")

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=60)
        self.log = out + err


@contextmanager
def served(shop: Shop, role: str) -> Iterator[Peer]:
    peer = Peer(shop.start("serve", "--role", role, "--port", "0"), role)
    try:
        yield peer
    finally:
        peer.end()


def test_a_run_across_four_processes_deploys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_PEER_TOKEN", TOKEN)
    shop = Shop(tmp_path)
    model = shop.with_champion("prices", drift="{}")
    alone = (tmp_path / "retraining.yaml").read_text()
    with ExitStack() as stack:
        peers = [stack.enter_context(served(shop, role)) for role in ROLES]
        entries = [
            f"  {peer.role}:\n    url: {peer.address()}\n    token: ${{RETRAIN_PEER_TOKEN}}\n    timeout_seconds: 200\n"
            for peer in peers
        ]
        with (tmp_path / "retraining.yaml").open("a") as file:
            file.write("peers:\n" + "".join(entries))
        result = shop.retrain("run", model, "--as-of", NOW, "--json", limit=900)
    output = result.json
    (tmp_path / "retraining.yaml").write_text(alone)  # `shop` reads it without the token

    assert (result.code, output["status"], output["deploymentDecision"]["decision"]) == (0, "finished", "deploy")
    assert shop.champion(model) == output["retrainingResult"]["newModelVersion"] == "2"
    drift = [signal for signal in output["staleness"]["signals"] if signal["rule"] == "drift"]
    assert len(drift) > 1
    assert all(signal["outcome"] in ("ok", "bad") for signal in drift)
    for peer in peers:
        assert '"POST / HTTP/1.1" 200' in peer.log, peer.log
        assert "Traceback" not in peer.log
    told = json.dumps(output) + result.err + "".join(peer.log for peer in peers)
    assert TOKEN not in told
    assert "127.0.0.1" not in json.dumps(output)
