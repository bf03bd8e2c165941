"""Does a model send the right borderline decisions to a person, and what happens without one?

`python -m evals.language.routing` asks the configured model (OPENAI_BASE_URL, RETRAIN_LLM_MODEL) about borderline decisions that were
labelled, with a reason, before any model was asked. And it makes many decisions twice: without an endpoint, and with a scripted model
that lets everything stand, or sends everything to a person; they may differ where the policy called it borderline and nowhere else.
"""

import json
from collections.abc import Sequence
from typing import Any

from evals.language.case_files import RoutingCase, items_of, policy_of, routing_cases
from evals.language.configured import NO_MODEL, configured
from evals.language.decisions import cases
from evals.language.scores import Scored, log
from evals.report import Row, arguments, publish, share
from prompts.loader import load
from tools.adapters.memory_model import ScriptedModel
from tools.adapters.model_rationale import ModelWriter
from tools.adapters.template_rationale import TemplateWriter
from tools.contracts.decision import PolicyResult
from tools.contracts.evidence import EvidenceItem
from tools.contracts.language import Message
from tools.policy import apply_model_vote
from tools.ports import LanguageModel


def agreement(model: LanguageModel, found: Sequence[RoutingCase]) -> list[Scored]:
    """The model's choice against the label."""
    writer = _writer(model)
    scored: list[Scored] = []
    for case in found:
        policy = policy_of("canary", case.evidence, "borderline")
        written = writer.write(policy, items_of(case.evidence), "model")
        chose = "manual_review" if written.routed_to_review else "stand"
        who = f"chose {chose} because of {', '.join(written.moved_by) or 'nothing'}"
        told = who if written.written_by == "model" else f"no usable text: {'; '.join(written.faults)}"
        scored.append(Scored(f"label {case.label}", case.id, chose == case.label, f"{told[:400]}; {case.why}"))
        scored.append(Scored("own text used", case.id, written.written_by == "model", told[:400]))
    return scored


def without_endpoint(n: int, seed: int) -> list[Scored]:
    """Each decision with a model and without one."""
    scored: list[Scored] = []
    drawn = [(f"case {number}", case.policy, case.evidence) for number, case in enumerate(cases(n, seed))]
    # Few decisions are borderline; all that were labelled by hand are.
    drawn += [
        (each.id, policy_of("canary", each.evidence, "borderline"), items_of(each.evidence)) for each in routing_cases()
    ]
    for name, policy, evidence in drawn:
        bare, by_policy = _decided(TemplateWriter(load("template_rationale")), policy, evidence)
        for route in ("stand", "manual_review"):
            model = ScriptedModel(_script(policy, evidence, route))
            moved, by = _decided(_writer(model), policy, evidence)
            may_move = policy.certainty == "borderline" and policy.decision == "canary"
            wanted = ("manual_review", "model") if may_move and route == "manual_review" else (bare, by_policy)
            kind = f"borderline, model says {route}" if may_move else f"not borderline, model says {route}"
            scored.append(Scored(kind, name, (moved, by) == wanted, f"{bare} without, {moved} by {by} with one"))
    return scored


def _writer(model: LanguageModel) -> ModelWriter:
    return ModelWriter(model=model, prompt=load("rationale"), fallback=TemplateWriter(load("template_rationale")))


def _decided(writer: Any, policy: PolicyResult, evidence: Sequence[EvidenceItem]) -> tuple[str, str]:
    return apply_model_vote(policy, writer.write(policy, evidence, "model").routed_to_review)


def _script(policy: PolicyResult, evidence: Sequence[EvidenceItem], route: str) -> Any:
    """A model that names the decision, points at the first item, and always chooses the same."""
    names = {"deploy": "Deploy it.", "canary": "A canary.", "reject": "Reject it.", "manual_review": "Manual review."}
    answer = {
        "decision": policy.decision,
        "summary": names[policy.decision],
        "argument": [f"Look at [{evidence[0].id}]."],
        "concerns": [],
        "would_change": [],
        "route": route,
        "moved_by": [evidence[0].id] if route == "manual_review" else [],
    }

    def script(_: Sequence[Message]) -> str:
        return json.dumps(answer)

    return script


def rows_of(scored: Sequence[Scored], model: str) -> list[Row]:
    """Agreement without a target; decisions with one."""
    rows: list[Row] = []
    for kind in dict.fromkeys(each.kind for each in scored):
        found = [each for each in scored if each.kind == kind]
        hits = sum(each.good for each in found)
        measured = kind.startswith(("label", "own"))
        name = f"{model}: {kind}" if measured else f"as the policy allows: {kind}"
        rows.append(
            share(name, hits, len(found)) if measured else share(name, hits, len(found), "all", hits == len(found))
        )
    labelled = [each for each in scored if each.kind.startswith("label")]
    if labelled:
        rows.append(share(f"{model}: agreement with all labels", sum(each.good for each in labelled), len(labelled)))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--cases", type=int, default=600, metavar="N", help="decisions made with a model and without")
    parser.add_argument("--seed", type=int, default=20261128, help="of the decisions")
    asked = parser.parse_args(argv)
    scored = without_endpoint(60 if asked.quick else asked.cases, asked.seed)
    model, found = configured(), routing_cases()
    name = "none" if model is None else model.name
    if model is None:
        print(NO_MODEL)
    else:
        scored += agreement(model, found[:: len(found) // 2] if asked.quick else found)
    for each in scored:
        if not each.good:
            print(f"- {each.kind}, {each.case}: {each.reason}")
    rows = rows_of(scored, name)
    log("routing", scored, name)
    publish(rows, asked.json, quick=asked.quick, model=name)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
