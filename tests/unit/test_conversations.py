"""Whose conversation, one message at a time, one yes: over a file that two processes would share, and in memory."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tools.adapters.conversations import Conversation, Conversations
from tools.confirmation import Action, seal
from tools.errors import NotFound

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ADA = "person ada"


@pytest.fixture(params=["file", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "chat.db" if request.param == "file" else ":memory:", tmp_path / "locks")


def begun(kept: Conversations, id_: str = "c1", owner: str = ADA) -> Conversation:
    return kept.begin(Conversation(id=id_, owner=owner, model=None, title="", turns=0, created_at=NOW, updated_at=NOW))


def action(id_: str = "a1", conversation: str = "c1") -> Action:
    lines = ("PAUSE EVERYTHING",)
    args = {"reason": "x"}
    return Action(
        id=id_,
        conversation=conversation,
        owner=ADA,
        tool="pause",
        args=args,
        lines=lines,
        digest=seal(id_, conversation, ADA, "pause", args, lines),
        expires_at=NOW,
    )


def test_conversation_is_its_owners_alone_and_the_latest_comes_first(kept: Conversations) -> None:
    begun(kept, "c1")
    begun(kept, "c2")
    begun(kept, "c3", "person bob")
    kept.turned("c1", "what changed?", NOW + timedelta(minutes=1))
    kept.turned("c1", "another", NOW + timedelta(minutes=2))

    assert [(each.id, each.turns, each.title) for each in kept.of(ADA)] == [("c1", 2, "what changed?"), ("c2", 0, "")]
    for id_ in ("c3", "c4", "'; DROP TABLE conversations; --"):
        with pytest.raises(NotFound):
            kept.get(id_, ADA)


def test_what_is_asked_last_is_what_a_yes_means_and_it_is_claimed_once(kept: Conversations) -> None:
    begun(kept)
    kept.offer(action("a1"))
    kept.offer(action("a2"))

    assert kept.offered("c1") == action("a2")
    assert [kept.claim(id_) for id_ in ("a1", "a2", "a2")] == [False, True, False]
    assert kept.offered("c1") is None
    assert (kept.action("a1", "c1")[1], kept.action("a2", "c1")[1]) == ("cancelled", "used")
    with pytest.raises(NotFound):
        kept.action("a2", "c2")


def test_of_two_processes_one_claims_and_one_holds(tmp_path: Path) -> None:
    one, other = (Conversations(tmp_path / "chat.db", tmp_path / "locks") for _ in range(2))
    begun(one)
    one.offer(action())

    with one.held("c1") as first, other.held("c1") as second, other.held("c2") as elsewhere:
        assert (first, second, elsewhere) == (True, False, True)
    with other.held("c1") as afterwards:
        assert afterwards
    assert sorted([one.claim("a1"), other.claim("a1")]) == [False, True]
    assert (tmp_path / "chat.db").stat().st_mode & 0o077 == 0
    one.close()
    other.close()
