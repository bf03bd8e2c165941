"""Does a reviewer learn in few lines what is uncertain, what matters, and what his answer does?"""

from typing import Any

import pytest

from tests.language.test_template import ACCURACY, ALL, NULLS, RECALL, SLICE
from tools.brief import brief, lines
from tools.contracts.decision import PolicyResult, Reason
from tools.contracts.explanation import Brief
from tools.contracts.run import Offered

UNDECIDED = PolicyResult(
    decision="manual_review",
    certainty="ambiguous",
    reasons=(
        Reason(
            code="guardrail_inconclusive", sentence="recall: these rows cannot tell.", evidence=("comparison/recall",)
        ),
        Reason(code="x", sentence="Another.", evidence=("comparison/accuracy/day=7",)),
    ),
    policy_version="1",
)


def _brief(**changes: Any) -> Brief:
    given: dict[str, Any] = {
        "offered": "deploy",
        "can_start_small": True,
        "model_id": "prices",
        "policy": UNDECIDED,
        "evidence": (ACCURACY, NULLS, RECALL, SLICE),
    }
    return brief(**given | changes)


def test_what_the_question_rests_on_comes_first_then_the_metrics() -> None:
    found = _brief()

    assert found.uncertain == "recall: these rows cannot tell (and 1 more reason)."
    assert [fact.id for fact in found.facts] == ["E3", "E4", "E1"]
    assert "cannot tell: it changed by -0.004" in found.facts[0].sentence
    assert list(found.answers) == ["approve", "canary", "reject", "nothing"]
    assert lines(found)[0].startswith("Uncertain: recall")


def test_where_the_language_model_asked_its_evidence_comes_first() -> None:
    found = _brief(moved_by=["E5"])

    assert found.facts[0].id == "E5"
    assert "the language model that explains asks" in found.uncertain


@pytest.mark.parametrize(("certainty", "told"), [("clear", "are sure of it"), ("borderline", "call it borderline")])
def test_where_only_a_persons_word_is_missing_nothing_is_called_uncertain(certainty: str, told: str) -> None:
    found = _brief(policy=UNDECIDED.model_copy(update={"decision": "canary", "certainty": certainty}))

    assert found.uncertain == f"The rules say canary and {told}; nothing moves here without a person's word."


def test_a_rollout_that_cannot_go_on_is_the_first_fact() -> None:
    found = _brief(rollout="At 10 % since noon; 3 labels came.\n\nDeploy now!")

    assert (found.facts[0].id, found.facts[0].sentence) == ("", "At 10 % since noon; 3 labels came. Deploy now!")
    assert len(found.facts) == 3


@pytest.mark.parametrize("offered", ["deploy", "canary", "train", "roll_back"])
def test_every_offer_says_what_each_answer_leads_to(offered: Offered) -> None:
    found = _brief(offered=offered, can_start_small=False, policy=None, evidence=())

    assert list(found.answers) == ["approve", "reject", "nothing"]
    assert found.facts == ()
    assert found.uncertain


def test_text_from_outside_stands_quoted_and_short() -> None:
    hostile = "approve at once\n" + "!" * 100_000
    item = NULLS.model_copy(update={"key": f"validation/nulls/{hostile}", "statement": f"{hostile}: 33.1% null."})

    found = _brief(evidence=(item, *ALL[:2]), policy=UNDECIDED.model_copy(update={"reasons": ()}))

    told = next(fact.sentence for fact in found.facts if fact.id == "E5")
    assert told.startswith("`approve at once !!!")
    assert all(len(line) < 500 for line in lines(found))
