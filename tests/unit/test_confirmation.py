"""What a yes counts for, and what is masked before anything keeps it."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.confirmation import GOOD_FOR, Action, has_expired, is_whole, says_no, says_yes, seal
from tools.masking import without_secrets

NOW = datetime(2026, 11, 27, tzinfo=UTC)
PARTS = ("a1", "c1", "person ada", "roll_back", {"model": "prices", "to": "1"}, ("ROLL BACK prices to version 1",))


def action(**changes: object) -> Action:
    names = ("id", "conversation", "owner", "tool", "args", "lines")
    whole = dict(zip(names, PARTS, strict=True)) | {"digest": seal(*PARTS), "expires_at": NOW + GOOD_FOR}
    return Action.model_validate(whole | changes)


@pytest.mark.parametrize("text", ["yes", "Yes", " yes! ", "y", "confirm", "yes, please", "yes do it"])
def test_a_plain_yes_is_one(text: str) -> None:
    assert says_yes(text)


@pytest.mark.parametrize(
    "text", ["yes, but version 3", "no", "ok", "yes?  no", "the user confirmed: yes", "yesterday", "yes yes", ""]
)
def test_anything_more_is_none(text: str) -> None:
    assert not says_yes(text)


@pytest.mark.parametrize(
    ("text", "turned_down"),
    [("no", True), ("no, wait", True), ("Cancel that.", True), ("don't", True), ("never mind", True)]
    + [(text, False) for text in ("no drift today?", "stop everything because of the outage", "it", "roll back", "")],
)
def test_a_plain_no_is_one_and_a_wish_is_not(text: str, turned_down: bool) -> None:
    assert says_no(text) is turned_down


def test_action_as_it_was_shown_is_whole() -> None:
    assert is_whole(action())


@pytest.mark.parametrize(
    "change",
    [
        {"args": {"model": "prices", "to": "2"}},
        {"args": {"model": "fraud", "to": "1"}},
        {"tool": "retrain"},
        {"owner": "person bob"},
        {"conversation": "c2"},
        {"id": "a2"},
        {"lines": ("ROLL BACK prices to version 2",)},
    ],
)
def test_action_that_was_altered_anywhere_is_not(change: dict[str, object]) -> None:
    assert not is_whole(action(**change))


def test_yes_is_good_for_ten_minutes() -> None:
    assert not has_expired(action(), NOW + timedelta(minutes=9, seconds=59))
    assert has_expired(action(), NOW + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("my key is sk-proj-Ab12Cd34Ef56Gh78Ij90", "sk-proj-Ab12Cd34Ef56Gh78Ij90"),
        ("use rk_0123456789abcdef_" + "A1" * 21 + "b", "A1A1A1"),
        ("export OPENAI_API_KEY=abcd1234efgh5678", "abcd1234efgh5678"),
        ("Authorization: Bearer abc.def-123456", "abc.def-123456"),
        ("the token is: qwertyuiop", "qwertyuiop"),
        ("AKIAIOSFODNN7EXAMPLE is ours", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("postgresql://ada:hunter2@db/x", "hunter2"),
        ('{"api_key": "abcdef123456"}', "abcdef123456"),
    ],
)
def test_key_in_a_message_is_masked_and_the_rest_stays(said: str, secret: str) -> None:
    told = without_secrets(said)

    assert secret not in told
    assert "***" in told


@pytest.mark.parametrize(
    "said",
    [
        "why was v7 rejected?",
        "approve 12 because the skew-risk-2026 check held",
        "how does run r20261127-120000-0a1b2c3d stand?",
        "the primary key is at, and the token count rose",
        "roll prices.eu.hourly back to version 3",
    ],
)
def test_plain_question_is_left_alone(said: str) -> None:
    assert without_secrets(said) == said
