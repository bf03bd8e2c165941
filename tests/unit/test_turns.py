"""Which thread drives a run?"""

import threading

import pytest

from agent.services.turns import Turns
from tools.errors import Busy

SECONDS = 30.0


def test_second_thread_is_refused_or_waits_and_nothing_is_kept_of_what_has_ended() -> None:
    turns, told = Turns(), list[str]()

    def waits() -> None:
        with turns.alone("r1", wait=True):
            told.append("mine")

    with turns.alone("r1"), turns.alone("r2"):
        with pytest.raises(Busy, match="run r1 goes on in this process"), turns.alone("r1"):
            told.append("never")
        other = threading.Thread(target=waits)
        other.start()
        assert (told, len(turns)) == ([], 2)
    other.join(SECONDS)

    assert (told, len(turns)) == (["mine"], 0)


def test_turn_is_given_back_by_who_fails() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="odd"), turns.alone("r1"):
        raise ValueError("odd")
    with turns.alone("r1"):
        assert len(turns) == 1
