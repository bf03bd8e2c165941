"""Does the template say only what its evidence says, and does the checker notice a text that says more?

`python -m evals.language.faithfulness` plants lies of known kinds into true texts about decisions that the product's own
rules made from random measurements. With OPENAI_BASE_URL and RETRAIN_LLM_MODEL set, that model explains some of them too.
"""

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.settings import Settings, read_settings
from evals.language.cases import Case, cases
from evals.language.lies import HARMLESS, LIES, Lie
from evals.report import Row, arguments, publish, share
from prompts.loader import load
from tools.adapters.openai_rationale import OpenAIWriter
from tools.adapters.template_rationale import TemplateWriter
from tools.faithfulness import check
from tools.rationale import template_rationale

NO_MODEL = "No model is configured (OPENAI_BASE_URL and RETRAIN_LLM_MODEL): its texts were not measured."


def template(found: Sequence[Case]) -> Row:
    """The share of the template's texts that have no fault. One that has misses the target, whatever n."""
    passed = sum(not _faults(_text(case), case) for case in found)
    measured = share("the template's text passes", passed, len(found))
    return replace(measured, target="all", met=passed == len(found))


def faulted(told: str, found: Sequence[Case], lies: Mapping[str, Lie], seed: int) -> list[Row]:
    """By kind of change, the share of texts with a fault; one change a text, where it has a place for it."""
    rows: list[Row] = []
    true = [_text(case) for case in found]
    for kind, lie in lies.items():
        texts = [lie(true[n], case, random.Random(f"{seed}/{n}")) for n, case in enumerate(found)]
        lying = [(text, case) for text, case in zip(texts, found, strict=True) if text is not None]
        if lying:
            hits = sum(bool(_faults(text, case)) for text, case in lying)
            rows.append(share(f"{told}: {kind}", hits, len(lying)))
    return rows


def by_model(found: Sequence[Case], settings: Settings) -> list[Row]:
    """The share of the configured model's texts that pass at once, and within the attempts that it has."""
    model = settings.llm_model or ""
    writer = OpenAIWriter(
        base_url=settings.openai_base_url,
        api_key=settings.openai_api_key,
        model=model,
        prompt=load("rationale"),
        fallback=TemplateWriter(load("template_rationale")),
    )
    written = [writer.write(case.policy, case.evidence, case.model_id) for case in found]
    passed = [text for text in written if text.written_by == "model"]
    at_once = sum(not any("attempt 1" in fault for fault in text.faults) for text in passed)
    return [
        share(f"{model}: its first text passes", at_once, len(found)),
        share(f"{model}: its first or second text passes", len(passed), len(found)),
    ]


def _text(case: Case) -> str:
    return template_rationale(case.policy, case.evidence, case.model_id)


def _faults(text: str, case: Case) -> tuple[str, ...]:
    return check(text, case.policy, case.evidence, (case.model_id,))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what was asked; exit code 1 when a target was missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--cases", type=int, default=600, metavar="N", help="decisions made")
    parser.add_argument("--model-cases", type=int, default=20, metavar="N", help="decisions the model explains")
    parser.add_argument("--seed", type=int, default=20240229, help="of cases and lies")
    asked = parser.parse_args(argv)
    found = list(cases(25 if asked.quick else asked.cases, asked.seed))
    rows = [template(found), *faulted("caught", found, LIES, asked.seed)]
    rows += faulted("false alarm", found, HARMLESS, asked.seed)
    settings = read_settings(os.environ)
    if settings.openai_base_url and settings.llm_model:
        rows += by_model(found[: 2 if asked.quick else asked.model_cases], settings)
    else:
        print(NO_MODEL)
    decided = Counter(f"{case.policy.decision} ({case.policy.certainty})" for case in found)
    print("Decisions:", ", ".join(f"{count} {name}" for name, count in decided.most_common()))
    publish(rows, asked.json, quick=asked.quick, decisions=dict(decided))
    return 0 if asked.quick or all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
