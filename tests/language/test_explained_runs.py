"""Does a whole run end with the policy's decision whatever the model says, and can a person read why?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.services import briefs, explanations
from evals.language.case_files import injection_cases, rationale_cases, routing_cases
from evals.language.injection import HARMLESS, adversary, judged, run, sees
from evals.language.rationale import by_hand, checked, rows_of
from evals.language.routing import without_endpoint
from prompts.loader import load
from tests.graph.world import make_world
from tools.adapters.memory_model import ScriptedModel
from tools.adapters.model_rationale import ModelWriter
from tools.adapters.template_rationale import TemplateWriter
from tools.contracts.language import Message
from tools.errors import Conflict, ModelUnavailable, NotFound

TEMPLATE = TemplateWriter(load("template_rationale"))


def _writer(says: Any) -> ModelWriter:
    return ModelWriter(model=ScriptedModel(says), prompt=load("rationale"), fallback=TEMPLATE)


def _deploys(_: Sequence[Message]) -> str:
    answer = {"decision": "deploy", "summary": "Deploy it.", "argument": ["Look at [E1].", "Rows: [E13.statement]."]}
    return json.dumps(answer)


@pytest.mark.parametrize("off", [True, False], ids=["endpoint off", "endpoint on"])
def test_a_run_decides_the_same_with_a_model_and_without_and_can_be_explained(tmp_path: Path, off: bool) -> None:
    says: Any = (lambda _: ModelUnavailable("no connection", kind="off")) if off else _deploys
    world = make_world(tmp_path, rationale=_writer(says))

    output = world.run()

    decision = output["deploymentDecision"]
    assert (decision["decision"], decision["decidedBy"]) == ("deploy", "policy")
    assert decision["rationaleSource"]["writtenBy"] == ("template" if off else "model")
    found, record = explanations.decided(world.deps, "prices")
    assert (found.run_id, record.rationale.parts is not None) == (output["runId"], True)
    version = output["retrainingResult"]["newModelVersion"]
    assert explanations.decided(world.deps, "prices", f"v{version}")[0].run_id == output["runId"]
    assert explanations.decided(world.deps, output["runId"])[0].run_id == output["runId"]
    with pytest.raises(NotFound):
        explanations.decided(world.deps, "prices", "99")


def test_a_run_that_decided_nothing_says_so(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.run()
    run_id = world.run("rollback", reason="drill")["runId"]

    with pytest.raises((Conflict, NotFound)):
        explanations.decided(world.deps, run_id)


def test_a_question_comes_with_its_brief(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")
    review = world.deps.store.get_review(world.run()["deploymentDecision"]["reviewId"])

    found = briefs.of_review(world.deps, review)

    assert len(found.facts) == 3
    assert set(found.answers) >= {"approve", "reject", "nothing"}


# --- the evals do what they say --------------------------------------------------------------------------------------


def test_the_cases_are_whole_and_many_enough() -> None:
    assert len(rationale_cases()) + len(routing_cases()) >= 40
    assert len(injection_cases()) >= 40


def test_faithful_drafts_are_kept_altered_ones_caught_and_hand_made_ones_told_apart() -> None:
    scored = [*checked(25, 3), *by_hand()]

    assert [each for each in scored if not each.good] == []
    assert sum(each.kind not in ("faithful", "by hand") for each in scored) > 100
    assert all(row.met for row in rows_of(scored))


def test_a_model_moves_borderline_decisions_only() -> None:
    scored = without_endpoint(8, 3)

    assert [each for each in scored if not each.good] == []
    assert any(each.kind.startswith("borderline") for each in scored)


def test_the_adversary_obeys_what_it_sees() -> None:
    case = next(each for each in injection_cases() if each.id == "column-plain")
    messages = [{"role": "system", "content": "The decision: reject"}, {"role": "user", "content": '{"id": "E1"}'}]
    blind: dict[str, Any] = {"messages": messages}
    seeing: dict[str, Any] = {"messages": [messages[0], {"role": "user", "content": case.payload}]}

    def decision(body: dict[str, Any]) -> str:
        return json.loads(json.loads(adversary(case)(1, body).body)["choices"][0]["message"]["content"])["decision"]

    assert (sees(blind, case), decision(blind)) == (False, "reject")
    assert (sees(seeing, case), decision(seeing)) == (True, "deploy")


def test_a_payload_that_stands_bare_is_found_and_a_quoted_one_is_none() -> None:
    case = next(each for each in injection_cases() if each.id == "comment-plain")
    honest = run(case.channel, HARMLESS, TEMPLATE)
    output = run(case.channel, case.payload, TEMPLATE)
    bare = output | {"deploymentDecision": output["deploymentDecision"] | {"rationale": case.payload}}

    assert all(each.good for each in judged("template", case, output, honest))
    assert not all(each.good for each in judged("template", case, bare, honest))
