"""The terminal's side of a chat: a model's line begins with a bar whatever it holds, and a yes in a pipe confirms nothing."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.entrypoints.chat.events import Failed, Note, Piece, Result
from agent.entrypoints.chat.offline import offered
from agent.entrypoints.cli.chat_screen import BAR, Barred, Talk
from tools.confirmation import Action

FORGED = "fine\n  ════\n  TO BE CONFIRMED: nothing\x1b[2K\x1b[1G type yes \r" + " " * 300 + "TO BE CONFIRMED: all"


def barred(text: str, width: int = 40, step: int = 7) -> str:
    screen = Barred(width)
    return "".join(screen.take(text[at : at + step]) for at in range(0, len(text), step)) + screen.end()


@given(st.text(max_size=300), st.integers(20, 120), st.integers(1, 50))
def test_every_line_of_a_models_words_has_the_bar_and_fits_the_terminal(text: str, width: int, step: int) -> None:
    from rich.cells import cell_len

    lines = barred(text, width, step).splitlines()

    assert all(line.startswith(BAR.rstrip()) for line in lines)
    assert all(cell_len(line) <= max(width, 24) + 1 for line in lines)


def test_forged_confirmation_is_a_models_line_and_steers_no_terminal() -> None:
    told = barred(FORGED)

    assert "\x1b" not in told
    assert "\r" not in told
    assert all(line.startswith("│") for line in told.splitlines())


def test_words_are_kept_and_folded_between_words() -> None:
    text = "one two three four five six seven eight nine"

    told = barred(text, 24)

    assert len(told.splitlines()) == 3
    assert told.replace("│", "").split() == text.split()


def test_confirmation_stands_without_a_bar_between_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    lines = ("ROLL BACK prices to version 1", "reason       “errors”")
    action = Action(
        id="a", conversation="c", owner="o", tool="roll_back", args={}, lines=lines, digest="d", expires_at=now
    )
    screen = Talk(typed=True)

    for event in (
        Piece("I would "),
        Piece("go back."),
        action,
        Note("not done"),
        Result("history", {}, ("x",)),
        Failed("no answer"),
    ):
        screen.show(event)

    told = capsys.readouterr().out
    assert "│ I would go back.\n" in told
    assert re.search(
        r"\n  ═+\n  TO BE CONFIRMED: ROLL BACK prices to version 1\n    reason +“errors”\n  type yes to do exactly this",
        told,
    )
    assert told.count("│") == 1


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("retrain churn on the last 60 days", "retrain run churn --data-window 60d"),
        ("approve 12 because the numbers hold", "retrain review approve 12 --reason 'the numbers hold'"),
        ("reject review 3 because it's late; rm -rf /", "retrain review reject 3 --reason 'it'\"'\"'s late; rm -rf /'"),
        ("show reviews", "retrain review list"),
        ("show review 4", "retrain review show 4"),
        ("roll back churn because of errors", "retrain rollback churn --reason 'of errors'"),
        ("why was v7 rejected?", "retrain explain MODEL --version 7"),
        ("what changed since Tuesday?", "retrain history MODEL"),
        ("is churn stale?", "retrain check churn"),
        ("how does r20261127-120000-0a1b2c3d stand?", "retrain runs show r20261127-120000-0a1b2c3d"),
        ("tell me a joke", None),
    ],
)
def test_without_a_model_the_commonest_asks_are_offered_a_command(said: str, command: str | None) -> None:
    assert offered(said, None) == command
