"""What does this agent say of itself to other agents? The card at the well-known address; it holds no secret."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_CURRENT, TransportProtocol

JSON: Final = "application/json"
TEXT: Final = "text/plain"
_SCHEME: Final = "bearer"
_REQUEST: Final = {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}}

_SKILLS: Final[tuple[tuple[str, str, str, tuple[str, ...], dict[str, Any]], ...]] = (
    (
        "assess_staleness",
        "Assess staleness",
        "Is the model in production stale, and would a trigger fire? Nothing is recorded or moved. Scope: read.",
        ("monitoring", "drift"),
        {"request": _REQUEST},
    ),
    (
        "start_retraining",
        "Start retraining",
        "Check, train, compare with the champion on the same rows, decide, and roll out or refuse. A task; a doubtful case is"
        " `input-required` until a person answers. Scopes: run, read.",
        ("training", "evaluation", "deployment"),
        {"request": _REQUEST},
    ),
    (
        "judge_candidate",
        "Judge a candidate",
        "The same for a registered version that somebody else has trained. A task. Scopes: run, read.",
        ("evaluation", "deployment"),
        {"request": _REQUEST, "candidateVersion": "7"},
    ),
    (
        "get_run",
        "Get a run",
        "The public JSON of a run as it stands. Scope: read.",
        ("runs",),
        {"runId": "r20261127-120000-0a1b2c3d"},
    ),
    (
        "roll_back",
        "Roll back",
        "Back to the last known good version, or to the one named, with proof of what is served. A task. Scopes: roll_back,"
        " read.",
        ("deployment", "rollback"),
        {"modelId": "prices", "reason": "errors since noon"},
    ),
    (
        "explain_decision",
        "Explain a decision",
        "Why a run decided as it did: the rationale, the reasons, and the evidence they rest on. Scope: read.",
        ("explanation",),
        {"runId": "r20261127-120000-0a1b2c3d"},
    ),
    (
        "chat",
        "Ask in words",
        "Plain text, or `message`, to a language model that looks things up and asks back before anything is done: the answer's"
        " data holds a `confirmation`, which `confirm` (its actionId and digest, in the same context) says yes to. Scope: read,"
        " and that of what is confirmed.",
        ("chat",),
        {"message": "why was version 7 rejected?", "modelId": "prices"},
    ),
)
SKILLS: Final = tuple(skill[0] for skill in _SKILLS)
EXAMPLES: Final = {skill[0]: {"skill": skill[0], **skill[4]} for skill in _SKILLS}
"""By skill: a data part that asks for it."""


def agent_card(url: str) -> AgentCard:
    """The card of the agent that answers JSON-RPC at `url`."""
    needs = SecurityRequirement(schemes={_SCHEME: StringList()})
    return AgentCard(
        name="retraining-orchestrator",
        description=(
            "Decides, with evidence, whether a production model should be retrained; trains and judges the candidate, rolls it"
            " out or refuses it, and can always say why and go back. Send one data part: `skill` and what it needs; or words."
        ),
        version=_version(),
        supported_interfaces=[
            AgentInterface(
                url=url, protocol_binding=TransportProtocol.JSONRPC.value, protocol_version=PROTOCOL_VERSION_CURRENT
            )
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
        security_schemes={
            _SCHEME: SecurityScheme(
                http_auth_security_scheme=HTTPAuthSecurityScheme(
                    scheme="bearer", description="A key of this server, with the scopes that the skill names."
                )
            )
        },
        security_requirements=[needs],
        default_input_modes=[JSON, TEXT],
        default_output_modes=[JSON, TEXT],
        skills=[
            AgentSkill(id=name, name=title, description=what, tags=tags, examples=[json.dumps(EXAMPLES[name])])
            for name, title, what, tags, _ in _SKILLS
        ],
    )


def _version() -> str:
    try:
        return version("retraining-orchestrator")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
