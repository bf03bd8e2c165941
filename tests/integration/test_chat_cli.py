"""`retrain chat` as a person uses it: in a terminal of his own, in a pipe, with an endpoint that streams slowly."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evals.endpoint import DONE, USED, Reply, capable, endpoint, event, streamed

KEY = "sk-proj-Ab12Cd34Ef56Gh78Ij90"
SECONDS = 120


@pytest.fixture
def space(tmp_path: Path) -> Path:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\nllm_model: scripted\n")
    return tmp_path


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "unused", "TERM": "dumb", "COLUMNS": "100"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "agent.entrypoints.cli.app", "chat", *words]


def answer(_: int, body: dict[str, Any]) -> Reply:
    """Never comes to an end where it is asked for a story; pauses everything where it hears of it."""
    said = body["messages"][-1]["content"]
    if "story" in said:
        return streamed([event({"role": "assistant", "content": "Once upon a time "}), None, USED, DONE])
    if "pause" in said:
        function = {"name": "pause", "arguments": '{"reason": "an outage"}'}
        call = {"index": 0, "id": "1", "type": "function", "function": function}
        return streamed([event({"role": "assistant", "tool_calls": [call]}), USED, DONE])
    return streamed([event({"role": "assistant", "content": f"I heard {len(body['messages'])} messages."}), USED, DONE])


class Terminal:
    """The other side of a pseudo-terminal."""

    def __init__(self, fd: int, process: "subprocess.Popen[bytes]") -> None:
        self.fd, self.process, self.told = fd, process, ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to that."""
        end = time.monotonic() + SECONDS
        while text not in self.told:
            assert time.monotonic() < end, self.told
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.told += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    assert text in self.told, self.told
        found, _, self.told = self.told.partition(text)
        return found


@contextmanager
def terminal(space: Path, url: str, *words: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=space,
        env=environment(url),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.reliability
def test_person_stops_an_answer_confirms_an_action_and_comes_back_later(space: Path) -> None:
    with endpoint(capable(answer)) as served:
        with terminal(space, served.url) as screen:
            screen.until("you> ")
            screen.type("tell me a story\n")
            screen.until("│ Once upon a time")
            screen.process.send_signal(signal.SIGINT)
            screen.until("(stopped)")
            screen.until("you> ")
            screen.type(f"pause everything, my key is {KEY}\n")
            shown = screen.until("type yes to do exactly this")
            screen.until("you> ")
            screen.type("yes\n")
            screen.until("done: everything is paused by")
            screen.until("you> ")
            screen.type("\x04")
            screen.until("retrain chat --resume ")
            id_ = screen.until("\r\n").split()[0]
            assert screen.process.wait(SECONDS) == 0
        with terminal(space, served.url, "--resume", id_) as screen:
            again = screen.until("you> ")
        piped = subprocess.run(
            command("--resume", id_),
            input="yes",
            cwd=space,
            env=environment(served.url),
            capture_output=True,
            text=True,
            check=False,
        )

        assert KEY not in served.sent()

    assert "TO BE CONFIRMED: PAUSE EVERYTHING" in shown
    assert "│ Once upon a time" in again
    assert "program: the person confirmed; done: PAUSE EVERYTHING" in again
    assert (piped.returncode, piped.stdout.startswith("│ I heard ")) == (0, True)
    kept = [file for file in (space / ".retraining").rglob("*") if file.is_file()]
    assert kept
    assert all(KEY.encode() not in file.read_bytes() for file in kept)
    assert (space / ".retraining" / "chat.db").stat().st_mode & 0o077 == 0
