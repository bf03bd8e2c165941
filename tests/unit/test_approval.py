"""Who may answer, and is it still the same question? The rules alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tools.approval import LABELS, approvers_of, changed, refusal
from tools.contracts.profile import ReviewSpec
from tools.contracts.run import Review, Subject

START = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECT = Subject(
    candidate_uri="models:/m-1",
    candidate_version="2",
    candidate_digest="c",
    baseline_version="1",
    baseline_digest="b",
    evidence="e",
    policy="p",
    plan="d",
    profile="f",
)
TODAY = ReviewSpec(approvers=("ada", "grace", "joan"))


def review(**changes: Any) -> Review:
    given = {
        "id": 7,
        "run_id": "r1",
        "model_id": "prices",
        "status": "open",
        "offered": "deploy",
        "payload": {},
        "digest": "d",
        "nonce": "n",
        "requested_by": "ada",
        "approvers": ("ada", "grace"),
        "created_at": START,
        "expires_at": START + timedelta(days=7),
    }
    return Review.model_validate(given | changes)


def refused(person: str, answer: str = "approve", today: ReviewSpec = TODAY, **changes: Any) -> str | None:
    behind = changes.pop("behind", {person})
    asked = review(**changes)
    found = refusal(asked, today, answer, person, behind_person=behind, behind_request={asked.requested_by})
    return None if found is None else found.why


def test_approver_named_then_and_now_may_answer_and_nobody_else() -> None:
    assert refused("ada") is None
    assert "approvers: ada, grace" in str(refused("joan"))
    assert "approvers: ada, grace" in str(refused("Ada"))
    assert "approvers: ada" in str(refused("grace", today=ReviewSpec(approvers=("ada",))))
    assert "approvers: nobody" in str(refused("ada", today=ReviewSpec()))


@pytest.mark.parametrize(
    ("answer", "offered", "may"),
    [
        ("approve", "deploy", ("ada",)),
        ("canary", "deploy", ("grace",)),
        ("approve", "canary", ("grace",)),
        ("approve", "train", ("ada", "grace")),
        ("approve", "roll_back", ()),
        ("reject", "deploy", ("ada", "grace")),
        ("reject", "roll_back", ("ada", "grace")),
    ],
)
def test_roles_say_who_approves_what_and_refusing_is_free(answer: str, offered: str, may: tuple[str, ...]) -> None:
    roles: Any = {"deploy": ("ada",), "canary": ("grace",), "roll_back": ()}
    spec = ReviewSpec(approvers=("ada", "grace"), roles=roles)

    assert approvers_of(review(offered=offered, roles=roles), spec, answer) == may


def test_role_that_was_taken_since_counts_at_once_and_one_that_was_given_does_not() -> None:
    deploys: Any = {"deploy": ("ada",)}
    taken = ReviewSpec(approvers=("ada", "grace"), roles={"deploy": ("grace",)})

    assert approvers_of(review(roles=deploys), taken, "approve") == ()
    assert approvers_of(review(roles=deploys), TODAY, "approve") == ("ada",)


def test_wrong_role_is_told_as_that() -> None:
    assert "may not answer approve to review 7" in str(refused("grace", roles={"deploy": ("ada",)}))


@pytest.mark.parametrize(
    ("person", "behind", "answer", "may"),
    [
        ("ada", {"ada"}, "approve", False),
        ("ada", {"ada"}, "canary", False),
        ("ada", {"ada"}, "reject", True),
        ("grace", {"grace"}, "approve", True),
        ("grace", {"grace", "ada"}, "approve", False),
    ],
)
def test_of_four_eyes_two_are_not_those_that_asked(person: str, behind: set[str], answer: str, may: bool) -> None:
    why = refused(person, answer, behind=behind, four_eyes=True)

    assert (why is None) is may
    assert may or "nobody approves what he asked for" in str(why)
    assert refused(person, answer, behind=behind) is None


@pytest.mark.parametrize("name", sorted(Subject.model_fields))
def test_every_part_of_a_subject_counts_and_has_a_name(name: str) -> None:
    assert changed(SUBJECT, SUBJECT) == ()
    assert changed(SUBJECT, SUBJECT.model_copy(update={name: "other"})) == (LABELS[name],)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"approvers": ["ada"], "roles": {"deploy": ["grace"]}}, "grace, who are no approvers"),
        ({"approvers": ["ada"], "roles": {"destroy": ["ada"]}}, "roles"),
        ({"expires_after": "P1D", "escalate_after": "P1D"}, "shorter than expires_after"),
        ({"escalate_to": ["mailto://boss@example.com"]}, "written out"),
    ],
)
def test_profile_that_would_mean_nothing_is_refused(spec: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why) as caught:
        ReviewSpec.model_validate(spec)
    assert "boss" not in str(caught.value.errors()[0]["msg"])
