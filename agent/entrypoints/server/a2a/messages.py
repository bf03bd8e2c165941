"""What does a message of an A2A client ask for? One data part; words alone start nothing and approve nothing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from a2a.types import ContentTypeNotSupportedError, Message, Part
from google.protobuf.json_format import MessageToDict

from agent.entrypoints.server.a2a.card import EXAMPLES, JSON, SKILLS
from agent.problems import nearest
from agent.requests import parse_request, read_json
from agent.services.reviews import Answer
from tools.contracts.request import RetrainingRequest
from tools.errors import BadInput

Skill = Literal["assess_staleness", "start_retraining", "judge_candidate", "get_run", "roll_back", "explain_decision"]
LONGEST_ID: Final = 200
"""Of what a client may choose: ids of messages and contexts."""
_LOOKS: Final = ("get_run", "explain_decision")
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    "assess_staleness": ("request", "modelId"),
    "start_retraining": ("request", "modelId"),
    "judge_candidate": ("request", "modelId", "candidateVersion"),
    "get_run": ("runId",),
    "roll_back": ("request", "modelId", "reason", "to"),
    "explain_decision": ("runId",),
}


@dataclass(frozen=True)
class Ask:
    """A skill, and what it needs; checked as far as that goes without looking anything up."""

    skill: Skill
    warnings: tuple[str, ...] = ()
    request: RetrainingRequest | None = None
    """Absent for the skills that look at a run."""
    run_id: str = ""
    candidate_version: str = ""
    reason: str = ""
    to: str | None = None


@dataclass(frozen=True)
class Reply:
    """A person's answer to the question of a task."""

    verdict: Answer
    reason: str
    digest: str
    """Of the question that was read: another one is not answered by it."""


def data_of(message: Message) -> dict[str, Any] | None:
    """The message's one JSON object, from a data part or from text of the media type `application/json`; None where it has none.

    Raises:
        BadInput: more than one, or none that can be read. ContentTypeNotSupportedError: a file or an address.
    """
    found = [each for part in message.parts if (each := _data(part)) is not None]
    if len(found) > 1:
        raise BadInput(
            f"the message has {len(found)} data parts", thing="parts", value=len(found), remedy="send one a message"
        )
    return found[0] if found else None


def _data(part: Part) -> dict[str, Any] | None:
    content = part.WhichOneof("content")
    if content in ("raw", "url"):
        raise ContentTypeNotSupportedError(
            f"a part of the message is a {'file' if content == 'raw' else 'address'}: neither is opened\n"
            "  remedy: send a data part, or text"
        )
    if content == "data":
        data: Any = MessageToDict(part.data)
        if not isinstance(data, dict):
            raise BadInput("the data part is no object", thing="parts", remedy=f"send for example {_example()}")
        return cast("dict[str, Any]", data)
    if content == "text" and part.media_type.partition(";")[0].strip().lower() == JSON:
        return read_json(part.text)
    return None


def read_ask(data: Mapping[str, Any]) -> Ask:
    """The skill asked for.

    Raises:
        BadInput: an unknown skill, something missing, or a request that is at fault.
    """
    skill = data.get("skill")
    if not isinstance(skill, str) or skill not in SKILLS:
        meant = nearest(skill, list(SKILLS)) if isinstance(skill, str) else None
        hint = f"did you mean {meant!r}? " if meant else ""
        raise BadInput(
            f"there is no skill {skill!r}" if "skill" in data else "the data names no skill",
            thing="skill",
            value=skill,
            remedy=f"{hint}The skills are {', '.join(SKILLS)}",
        )
    named = cast("Skill", skill)
    unknown = [name for name in data if name != "skill" and name not in _TAKES[named]]
    ignored = tuple(f"unknown field {name} was ignored" for name in unknown)
    if named in _LOOKS:
        return Ask(named, ignored, run_id=_text(data, "runId"))
    request, warnings = parse_request(_request(data))
    return Ask(
        named,
        (*ignored, *warnings),
        request,
        candidate_version=_text(data, "candidateVersion") if named == "judge_candidate" else "",
        reason=_text(data, "reason") if named == "roll_back" else "",
        to=_text(data, "to") if named == "roll_back" and data.get("to") is not None else None,
    )


def read_reply(data: Mapping[str, Any]) -> Reply:
    """A person's answer.

    Raises:
        BadInput: no verdict, reason or digest.
    """
    verdict: Any = data.get("verdict")
    if verdict not in get_args(Answer):
        raise BadInput(
            "the data names no verdict" if verdict is None else f"there is no verdict {verdict!r}",
            thing="verdict",
            value=verdict,
            remedy="send verdict (approve, canary or reject), reason and digest",
        )
    return Reply(cast("Answer", verdict), _text(data, "reason"), _text(data, "digest"))


def what_is_needed() -> str:
    """For whoever sent words where data is needed."""
    lines = "\n".join(f"- {name}: {_example(name)}" for name in SKILLS)
    return (
        "Nothing was started: words alone start nothing here. Send one data part (application/json) that names a skill:\n"
        f"{lines}\n"
        "`request` is the public request JSON (`retrain schema input`)."
    )


def _request(data: Mapping[str, Any]) -> Mapping[str, Any]:
    request, model = data.get("request"), data.get("modelId")
    if request is None and model is not None:
        return {"modelId": model, "retrainingConfig": {}}
    if request is not None and model is not None:
        raise BadInput(
            "modelId stands beside a request, which names its own", thing="modelId", value=model, remedy="leave it out"
        )
    if not isinstance(request, dict):
        raise BadInput(
            "the data holds no request", thing="request", value=request, remedy=f"send for example {_example()}"
        )
    return cast("dict[str, Any]", request)


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value.strip():
        what = "is missing" if value is None else "is no text" if not isinstance(value, str) else "is empty"
        raise BadInput(f"{name} {what}", thing=name, value=value, remedy=f"give {name} as text")
    return value.strip()


def _example(skill: str = "start_retraining") -> str:
    return json.dumps(EXAMPLES[skill])
