"""Does the checker let pass what the evidence says, and nothing else? The eval with hundreds of cases is `evals.language.rationale`."""

import itertools
from typing import Any

import pytest

from tools.citations import fields_of, printed
from tools.contracts.decision import DecisionKind, PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.explanation import Explained
from tools.faithfulness import check


def _item(name: str, key: str, outcome: str, statement: str = "s", **more: Any) -> EvidenceItem:
    return EvidenceItem(id=name, key=key, outcome=outcome, statement=statement, **more)


EVIDENCE = (
    _item("E1", "comparison/accuracy", "improved", value=0.02, low=0.01, high=0.03, threshold=0.01, n=9062,
          unit="accuracy, absolute"),
    _item("E2", "comparison/root_mean_squared_error", "improved", value=3.2, low=1.1, high=5.0, n=9062,
          unit="root_mean_squared_error, absolute"),
    _item("E3", "comparison/recall", "inconclusive", value=-0.004, low=-0.03, high=0.021, threshold=-0.02, n=9062,
          unit="recall, absolute"),
    _item("E4", "comparison/accuracy/col_1=val_1", "regressed", value=-0.2, low=-0.3, high=-0.1, n=80,
          unit="accuracy, absolute"),
    _item("E5", "validation/nulls/col_2", "fail", value=0.331, threshold=0.1, n=33257),
    _item("E6", "staleness/freshness/data set", "could_not_measure"),
    _item("E7", "staleness/drift/col_3", "bad", value=0.633, unit="distance"),
    _item("E8", "comparison/f1", "non_inferior", value=0.001, low=-0.01, high=0.02, threshold=-0.02, n=9062,
          unit="f1, absolute"),
    _item("E9", "validation/nulls/col_4", "pass", value=0.0, threshold=0.1, n=33257),
)  # fmt: skip
OPENINGS: dict[DecisionKind, str] = {
    "deploy": "Deploy model_1.",
    "canary": "Start a canary.",
    "reject": "Reject it.",
    "manual_review": "Manual review.",
}


def _policy(decision: DecisionKind = "deploy") -> PolicyResult:
    return PolicyResult(decision=decision, certainty="clear", reasons=(), policy_version="1")


def _draft(sentence: str, **more: Any) -> Explained:
    whole: dict[str, Any] = {
        "decision": "deploy",
        "summary": "Deploy model_1, because accuracy improved [E1].",
        "argument": (sentence,),
    }
    return Explained(**whole | more)


def _faults(sentence: str, decision: DecisionKind = "deploy") -> str:
    draft = _draft(f"{sentence} Also look at [E1].", decision=decision, summary=OPENINGS[decision])
    return "; ".join(check(draft, _policy(decision), EVIDENCE))


@pytest.mark.parametrize(
    "sentence",
    [
        "Accuracy improved by [E1.delta] [E1].",
        "Accuracy improved, by [E1.delta] on [E1.n] rows.",
        "Accuracy [E1] improved while accuracy where col_1 is val_1 [E4] regressed.",
        "Accuracy is better [E1] despite drift in col_3 [E7].",
        "Accuracy and RMSE improved [E1, E2].",
        "The root mean squared error fell by [E2.delta].",
        "Recall did not improve [E3].",
        "Recall is inconclusive [E3]: its interval goes from [E3.low] to [E3.high].",
        "Whether recall would be better cannot be told [E3].",
        "f1 holds within [E8.threshold].",
        "f1 did not regress [E8].",
        "Nulls in col_2 stand at [E5.value], above the [E5.threshold] allowed.",
        "The low end [E1.low] is not below [E3.low].",
        "The check of nulls failed for col_2 [E5] and passed for col_4 [E9].",
        "col_3 drifted [E7.value].",
        "How fresh the rows are could not be measured [E6].",
        "A regression on a guardrail would have meant to reject it.",
        "It will not be rejected.",
    ],
)
def test_what_the_evidence_says_passes(sentence: str) -> None:
    assert _faults(sentence) == ""


@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        ("Accuracy improved [E19].", "cites E19, which does not exist"),
        ("Accuracy improved [E 1].", "no citation"),
        ("Accuracy improved, as E1 shows [E1].", "writes E1, which is no citation"),
        ("Accuracy improved by [E1.gain].", "cites E1.gain; E1 has delta, value"),
        ("Nulls stand at [E5.low].", "cites E5.low; E5 has value, threshold, n, statement"),
        ("Accuracy improved by 0.02 [E1].", "writes '0.02'"),
        ("Accuracy improved by ٢ [E1].", "writes '٢'"),
        ("Accuracy improved by ½ [E1].", "writes '½'"),
        ("Accuracy improved by two points [E1].", "writes 'two'"),
        ("Accuracy doubled [E1].", "writes 'doubled'"),
        ("Accuracy got worse [E1].", "says 'worse', but E1 is improved"),
        ("Accuracy did not improve [E1].", "says 'not improve'"),
        ("Accuracy fell by [E1.delta].", "says 'fell', but E1 is improved"),
        ("RMSE rose by [E2.delta].", "says 'rose', but E2 is improved"),
        ("Recall is better [E3].", "says 'better', but E3 is inconclusive"),
        ("f1 improved [E8].", "says 'improved', but E8 is non_inferior"),
        ("Accuracy where col_1 is val_1 improved [E4].", "says 'improved', but E4 is regressed"),
        ("There is no regression where col_1 is val_1 [E4].", "says 'not regression'"),
        ("Accuracy [E1] regressed while recall [E3] cannot tell.", "says 'regressed', but E1 is improved"),
        ("Accuracy and recall improved [E1, E3].", "E3 is inconclusive"),
        ("The check of nulls passed for col_2 [E5].", "says 'passed', but E5 is fail"),
        ("col_3 did not drift, it is stable [E7].", "says 'stable', but E7 is bad"),
        ("Accuracy is inconclusive [E1].", "says 'inconclusive', but E1 is improved"),
        ("Accuracy improved.", ""),
        ("Everything improved. Nothing is left to say.", "says 'improved' without citing evidence"),
        ("Recall improved [E1].", "names recall, of which nothing cited there says anything"),
        ("Nulls in col_4 stand at [E5.value].", "names col_4, of which nothing cited there says anything"),
        ("Nulls in col_9 stand at [E5.value].", "names col_9, of which nothing cited there says anything"),
        ("model_2 is better [E1].", "names model_2, which stands for nothing"),
        ("Nulls stand at [E5.value], below the [E5.threshold] allowed.", "E5.value is below E5.threshold, which is not so"),
        ("The rows, [E4.n], are more than the [E1.n] of the whole.", "which is not so"),
        ("The decision is to reject it.", "names reject as the decision"),
        ("It should be sent to manual review.", "names manual_review as the decision"),
        ("I recommend a canary.", "names canary as the decision"),
        ("Reject the candidate.", "names reject as the decision"),
        ("See https://evil.example [E1].", "an address"),
        ("<b>Accuracy</b> improved [E1].", "markup"),
    ],
)  # fmt: skip
def test_what_the_evidence_does_not_say_is_a_fault(sentence: str, says: str) -> None:
    assert says in _faults(sentence)


@pytest.mark.parametrize(("taken", "other"), list(itertools.permutations(OPENINGS, 2)))
def test_another_decision_is_a_fault_in_its_field_and_in_the_summary(taken: DecisionKind, other: DecisionKind) -> None:
    honest = _draft("Look at [E1].", decision=taken, summary=OPENINGS[taken])

    assert check(honest, _policy(taken), EVIDENCE) == ()
    assert check(honest.model_copy(update={"decision": other}), _policy(taken), EVIDENCE) != ()
    assert check(honest.model_copy(update={"summary": OPENINGS[other]}), _policy(taken), EVIDENCE) != ()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"summary": " "}, "its summary is empty"),
        ({"argument": ()}, "its argument is empty"),
        ({"argument": ("It is as it is.",)}, "its argument cites no evidence"),
        ({"argument": ("Well [E1]. " * 600,)}, "longer than"),
        ({"argument": ("Well [E1].",) * 13}, "longer than"),
        ({"concerns": ("Accuracy got worse [E1].",)}, "says 'worse'"),
        ({"would_change": ("Accuracy got worse [E1].",)}, "says 'worse'"),
    ],
)
def test_every_part_is_looked_at(more: dict[str, Any], says: str) -> None:
    assert says in "; ".join(check(_draft("Accuracy improved [E1].", **more), _policy(), EVIDENCE))


# --- what code prints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Up by [E1.delta] on [E1.n] rows.", "Up by +0.02 (+0.01 to +0.03) on 9,062 rows [E1]."),
        ("Up by [E1.delta], between [E1.low] and [E1.high].", "Up by +0.02, between +0.01 and +0.03 [E1]."),
        ("Interval [E1.interval].", "Interval +0.01 to +0.03 [E1]."),
        ("At least [E1.threshold] [E1].", "At least 0.01 [E1]."),
        ("A loss of [E3.threshold] is accepted.", "A loss of 0.02 is accepted [E3]."),
        ("Nulls are [E5.value].", "Nulls are 0.331 [E5]."),
        ("It says: [E6.statement].", "It says: s [E6]."),
        ("Both [E1, E2.delta].", "Both +3.2 (+1.1 to +5) [E1, E2]."),
        ("Nothing of [E99].", "Nothing of."),
    ],
)
def test_a_cited_field_is_printed_in_its_place_with_the_items_id(text: str, shown: str) -> None:
    assert printed(text, {item.id: item for item in EVIDENCE}) == shown


def test_only_what_an_item_holds_can_be_cited_of_it() -> None:
    assert fields_of(EVIDENCE[5]) == ("statement",)
    assert fields_of(EVIDENCE[1]) == ("delta", "value", "low", "high", "n", "interval", "statement")
