"""One suite for who is told: in memory, and by Apprise against a real server on loopback. Then what must never be shown."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import ValidationError

from tests.conformance.conftest import closed_port
from tools.adapters.apprise_notifier import AppriseNotifier
from tools.adapters.memory_notifier import MemoryNotifier
from tools.contracts.incident import Notice
from tools.contracts.profile import NotifySpec
from tools.errors import Unavailable
from tools.ports import Notifier

SECRET = "s3cr3t-word"
NOTICE = Notice(key="r1/rolled_back", event="rolled_back", title="prices: rolled back", body="Why: odd prices")


class Heard:
    """A server that hears Apprise's JSON."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200


@pytest.fixture
def server() -> Iterator[tuple[Heard, str]]:
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(heard.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield heard, f"json://u:{SECRET}@127.0.0.1:{made.server_port}/hook"
        made.shutdown()


@pytest.mark.parametrize("kind", ["memory", "apprise"])
def test_message_reaches_its_channel_and_no_other(kind: str, server: tuple[Heard, str]) -> None:
    heard, url = server
    memory = MemoryNotifier(("1:a", "2:b"))
    notifier: Notifier = memory if kind == "memory" else AppriseNotifier(("${A}", "json://${B}"), {"A": url, "B": "no"})

    notifier.send(notifier.channels()[0], NOTICE)

    assert len(notifier.channels()) == len(set(notifier.channels())) == 2
    if kind == "memory":
        assert memory.sent == [("1:a", NOTICE)]
    else:
        (message,) = heard.messages
        assert (message["title"], message["message"]) == (NOTICE.title, "Why: odd prices\n[r1/rolled_back]")


@pytest.mark.parametrize("kind", ["memory", "apprise"])
def test_message_that_does_not_leave_is_unavailable(kind: str) -> None:
    memory = MemoryNotifier(("1:a",))
    memory.failures["1:a"] = Unavailable("away")
    away = {"A": f"json://u:{SECRET}@127.0.0.1:{closed_port()}"}
    notifier: Notifier = memory if kind == "memory" else AppriseNotifier(("${A}",), away)

    with pytest.raises(Unavailable):
        notifier.send(notifier.channels()[0], NOTICE)


@pytest.mark.parametrize(
    ("url", "variables", "why"),
    [
        pytest.param("${A}", {}, "variable A is not set", id="variable missing"),
        pytest.param("${A}", {"A": ""}, "variable A is not set", id="variable empty"),
        pytest.param("${A}", {"A": f"nosuch://{SECRET}"}, "knows no such address", id="unknown scheme"),
        pytest.param("${A}", {"A": SECRET}, "knows no such address", id="no address"),
        pytest.param("${A}", {"A": f"json://u:{SECRET}@127.0.0.1:1/"}, "not taken", id="nobody listens"),
        pytest.param("json://u:${A}@127.0.0.1:1", {"A": SECRET}, "not taken", id="secret within"),
    ],
)
def test_no_secret_stands_in_what_is_said_of_a_failure(
    url: str, variables: dict[str, str], why: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    notifier = AppriseNotifier((url,), variables)
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable, match=why) as caught:
        notifier.send(notifier.channels()[0], NOTICE)

    told = capfd.readouterr()
    everything = f"{caught.value} {caught.value.__cause__} {caplog.text} {told.out} {told.err} {notifier.channels()}"
    assert SECRET not in everything


def test_server_that_refuses_a_message_did_not_take_it(server: tuple[Heard, str]) -> None:
    heard, url = server
    heard.status = 500
    with pytest.raises(Unavailable, match="not taken"):
        AppriseNotifier(("${A}",), {"A": url}).send("1:secret", NOTICE)
    assert len(heard.messages) == 1


def test_address_written_out_in_a_profile_is_refused_and_a_variable_is_not() -> None:
    assert NotifySpec(urls=("mailtos://${MAIL}", "${CHAT}")).urls
    with pytest.raises(ValidationError, match="is written out"):
        NotifySpec(urls=("${CHAT}", f"slack://{SECRET}"))


def test_addresses_for_escalations_are_channels_of_their_own_with_their_secrets_filled_in(
    server: tuple[Heard, str],
) -> None:
    heard, url = server
    notifier = AppriseNotifier(("${A}",), {"A": "json://${NO}", "BOSS": url}, ("${BOSS}",))

    assert list(notifier.channels()) == ["1:secret", "escalation-1:secret"]
    notifier.send("escalation-1:secret", NOTICE)

    assert [message["title"] for message in heard.messages] == [NOTICE.title]
