"""Does the schema leave room for what is right, and little for what the checker refuses?"""

import re
from typing import Any, get_args

import pytest

from tools.adapters.model_answers import strict_schema, without_patterns
from tools.contracts.decision import Certainty, DecisionKind, PolicyResult, Reason
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained, Weighed
from tools.faithfulness import check
from tools.guided import guided

OPENINGS: dict[DecisionKind, str] = {
    "deploy": "Deploy, because accuracy improved by [E1.delta] on [E1.n] rows.",
    "canary": "The decision is a canary, because accuracy improved by [E1.delta].",
    "reject": "Reject, because nulls in col_1 failed [E2].",
    "manual_review": "Manual review, because nulls in col_1 failed [E2].",
}


def item(id_: str, key: str, outcome: str, **more: Any) -> EvidenceItem:
    return EvidenceItem(id=id_, key=key, outcome=outcome, statement="said.", **more)


EVIDENCE = (
    item("E1", "comparison/accuracy", "improved", value=0.02, low=0.01, high=0.03, n=900, unit="accuracy, absolute"),
    item("E2", "validation/nulls/col_1", "fail", value=0.1),
    item("E3", "comparison/ndcg@10", "non_inferior", value=0.0, low=-0.1, high=0.1, n=90, unit="ndcg@10, absolute"),
)


def policy(decision: DecisionKind = "deploy", certainty: Certainty = "clear") -> PolicyResult:
    return PolicyResult(
        decision=decision, certainty=certainty, reasons=(Reason(code="x", sentence="x."),), policy_version="1"
    )


def pattern_of(name: str, decision: DecisionKind = "deploy") -> str:
    told = strict_schema(guided(policy(decision), EVIDENCE))["properties"][name]
    return str(told.get("items", told)["pattern"])


@pytest.mark.parametrize("decision", get_args(DecisionKind))
def test_a_faithful_text_fits_and_the_checker_agrees(decision: DecisionKind) -> None:
    texts = {
        "summary": OPENINGS[decision],
        "argument": "Accuracy improved by [E1.delta] (from [E1.low] to [E1.high]) on [E1.n] rows.",
        "concerns": "Nulls in col_1 stand at [E2.value], and ndcg@10 holds [E3].",
        "would_change": "If accuracy had not improved the decision would differ.",
    }
    for name, text in texts.items():
        assert re.search(pattern_of(name, decision), text), name
    draft = Explained(
        decision=decision,
        summary=texts["summary"],
        argument=(texts["argument"],),
        concerns=(texts["concerns"],),
        would_change=(texts["would_change"],),
    )
    assert check(draft, policy(decision), EVIDENCE) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("argument", "Accuracy improved by 0.02 [E1]."),
        ("argument", "Accuracy improved by 2% [E1]."),
        ("argument", "Accuracy improved."),
        ("argument", "Accuracy improved [E9]."),
        ("argument", "Nulls rose [E2.low]."),
        ("argument", "Nulls in col_7 rose [E2]."),
        ("argument", "Accuracy improved by     "),
        ("argument", "Accuracy improved [E1]. It is a fine model."),
        ("argument", 'Accuracy "improved" [E1].'),
        ("argument", "See www://x [E1]."),
        ("argument", "x" * 200 + " [E1]."),
        ("argument", "word " * 200 + "[E1]."),
        ("summary", "Reject, because accuracy improved [E1]."),
        ("summary", "Deploy it now."),
        ("would_change", "Accuracy rose."),
    ],
)
def test_no_room_is_left_for(name: str, text: str) -> None:
    assert re.search(pattern_of(name), text) is None


def test_decision_and_ids_can_only_be_those_that_are() -> None:
    told = strict_schema(guided(policy("canary", "borderline"), EVIDENCE))["properties"]

    assert told["decision"]["enum"] == ["canary"]
    assert told["moved_by"]["items"]["enum"] == ["E1", "E2", "E3"]
    assert issubclass(guided(policy("canary", "borderline"), EVIDENCE), Weighed)
    assert "moved_by" not in strict_schema(guided(policy(), EVIDENCE))["properties"]


def test_an_answer_that_keeps_to_no_pattern_is_read_all_the_same() -> None:
    """What an endpoint makes of a schema is its affair; the checker decides."""
    said = {"decision": "deploy", "summary": "It is 3 times better!", "argument": []}
    assert guided(policy(), EVIDENCE).model_validate(said).summary == "It is 3 times better!"


def test_patterns_keep_to_what_endpoints_share() -> None:
    whole = strict_schema(guided(policy("canary", "borderline"), EVIDENCE))
    for name in ("summary", "argument", "concerns", "would_change"):
        pattern = pattern_of(name)
        assert (pattern[0], pattern[-1]) == ("^", "$")
        assert re.search(r"(?<!\\)\(\?", pattern) is None
        assert '"' not in pattern
    bare = without_patterns(whole)
    assert set(bare["properties"]) == set(whole["properties"])
    assert "pattern" not in str(bare)
