"""Does a faithful rationale survive the checker, is an altered one caught, and does every fault of an endpoint end well?

`python -m evals.language.rationale` words decisions that the product's own rules made from random measurements, alters one thing at
a time, holds the hand-written cases against the checker, and runs the whole graph before endpoints that fail in every way. With an
endpoint configured (OPENAI_BASE_URL, RETRAIN_LLM_MODEL) it also tells how often that model's own text is used.
"""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from evals.endpoint import Reply, Script, capable, completion, endpoint
from evals.language.case_files import items_of, policy_of, rationale_cases
from evals.language.configured import NO_MODEL, configured
from evals.language.decisions import Case, cases
from evals.language.drafts import ALTERATIONS, faithful
from evals.language.scores import Scored, log
from evals.report import Row, arguments, publish, share
from prompts.loader import load
from tools.adapters.model_rationale import ModelWriter
from tools.adapters.openai_model import OpenAIModel
from tools.adapters.template_rationale import TemplateWriter
from tools.contracts.language import LanguageSpec
from tools.faithfulness import check
from tools.ports import LanguageModel

LEAST_KEPT: Final = 0.99
_OTHER: Final = {
    "decision": "canary",
    "summary": "Start a canary for model_1.",
    "argument": ["It improved [E1]."],
    "concerns": [],
    "would_change": [],
}


def checked(n: int, seed: int) -> list[Scored]:
    """Faithful drafts and their alterations before the checker."""
    found: list[Scored] = []
    for number, case in enumerate(cases(n, seed)):
        g = random.Random(f"{seed}/{number}")
        written = faithful(case, g)
        faults = check(written.draft, written.policy, written.items)
        found.append(Scored("faithful", f"case {number}", not faults, "; ".join(faults) or "kept"))
        for kind, alter in ALTERATIONS.items():
            altered = alter(written, g)
            if altered is not None:
                caught = check(altered, written.policy, written.items)
                told = "; ".join(caught) or f"not caught: {altered.summary} {' '.join(altered.argument)}"
                found.append(Scored(kind, f"case {number}", bool(caught), told))
    return found


def by_hand() -> list[Scored]:
    """The hand-written cases before the checker."""
    found: list[Scored] = []
    for case in rationale_cases():
        faults = check(case.explained(), policy_of(case.decision, case.evidence), items_of(case.evidence))
        told = "; ".join(faults) or "kept"
        found.append(Scored("by hand", case.id, bool(faults) != case.kept, f"{told} ({case.why})"))
    return found


def _always(reply: Reply) -> Script:
    return capable(lambda _n, _b: reply)


FAULTS: Final[dict[str, Script]] = {
    "slow": lambda _n, _b: Reply(pieces=[None]),
    "streams garbage": lambda _n, _b: Reply(pieces=[b"\x00\xff{]" * 4000] * 50),
    "prose": _always(completion("I think the candidate should be deployed right away.")),
    "wrong schema": _always(completion('{"verdict": "deploy", "confidence": 0.99}')),
    "empty": _always(completion("")),
    "another decision": _always(completion(json.dumps(_OTHER))),
    "500s": lambda _n, _b: Reply(500, "{}"),
    "401": lambda _n, _b: Reply(401, "{}"),
    "half an answer": lambda _n, _b: Reply(body='{"choices": [{"mess'),
}
OFF: Final = "off"


def endpoint_faults() -> list[Scored]:
    """A whole run of the graph before each fault: the decision must be the policy's, the rationale the template's."""
    from tests.graph.world import BETTER, TWIN, WORSE

    found: list[Scored] = []
    for trains in (BETTER, WORSE, TWIN):
        honest = _decided(trains, None)
        for name in (OFF, *FAULTS):
            if name == OFF:
                told = _decided(trains, "http://127.0.0.1:9/v1")
            else:
                with endpoint(FAULTS[name]) as served:
                    told = _decided(trains, served.url)
            same = told[:3] == honest[:3] and told[3] == "template"
            found.append(Scored("endpoint fault", f"{name}, {trains}", same, f"{told} against {honest}"))
    return found


def _decided(trains: str, url: str | None) -> tuple[str, str, str, str]:
    """Decision, who made it, how the run ended, and who wrote the rationale."""
    from tests.graph.world import make_world

    template = TemplateWriter(load("template_rationale"))
    writer: Any = template
    if url is not None:
        spec = LanguageSpec(timeout_seconds=0.5, total_seconds=2, retries=1)
        model = OpenAIModel(base_url=url, api_key=None, model="broken", spec=spec)
        writer = ModelWriter(model=model, prompt=load("rationale"), fallback=template)
    with tempfile.TemporaryDirectory() as folder:
        output = make_world(Path(folder), trains=trains, rationale=writer).run()
    decision = output["deploymentDecision"]
    return decision["decision"], decision["decidedBy"], output["status"], decision["rationaleSource"]["writtenBy"]


def by_model(model: LanguageModel, found: Sequence[Case]) -> list[Scored]:
    """How often the configured model's text is used, and why it was not."""
    writer = ModelWriter(model=model, prompt=load("rationale"), fallback=TemplateWriter(load("template_rationale")))
    scored: list[Scored] = []
    for number, case in enumerate(found):
        told = writer.write(case.policy, case.evidence, case.model_id)
        why = "; ".join(told.faults) or "at once"
        scored.append(Scored("own text used", f"case {number}", told.written_by == "model", why[:500]))
        scored.append(
            Scored("own text used at once", f"case {number}", told.written_by == "model" and not told.faults, why[:500])
        )
    return scored


def rows_of(scored: Sequence[Scored]) -> list[Row]:
    """One row a kind, in the order of their appearance."""
    rows: list[Row] = []
    for kind in dict.fromkeys(each.kind for each in scored):
        hits, n = sum(each.good for each in scored if each.kind == kind), Counter(each.kind for each in scored)[kind]
        if kind == "faithful":
            rows.append(share("kept: faithful", hits, n, "0.99", hits >= LEAST_KEPT * n))
        elif kind in ALTERATIONS:
            rows.append(share(f"caught: {kind}", hits, n, "all", hits == n))
        else:
            rows.append(share(kind, hits, n, "all", hits == n) if "own text" not in kind else share(kind, hits, n))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--cases", type=int, default=600, metavar="N", help="decisions worded")
    parser.add_argument("--model-cases", type=int, default=20, metavar="N", help="decisions the configured model words")
    parser.add_argument("--seed", type=int, default=31415926, help="of decisions, wordings and alterations")
    asked = parser.parse_args(argv)
    scored = [*checked(80 if asked.quick else asked.cases, asked.seed), *by_hand(), *endpoint_faults()]
    model = configured()
    if model is None:
        print(NO_MODEL)
    else:
        print(f"Own texts of {model.name}.")
        scored += by_model(model, list(cases(2 if asked.quick else asked.model_cases, asked.seed + 1)))
    for each in scored:
        if not each.good and "own text" not in each.kind:
            print(f"- {each.kind}, {each.case}: {each.reason}")
    rows = rows_of(scored)
    log("rationale", scored, "none" if model is None else model.name)
    publish(rows, asked.json, quick=asked.quick, model="none" if model is None else model.name)
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
