"""What can a chat do? Each tool with the arguments that a language model fills in; nothing here does anything.

Times and windows are taken as people say them: code resolves them (`tools/moments.py`), no model counts days.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from agent.services.reviews import Answer
from tools.contracts.language import ToolSpec

ModelName = Annotated[
    str | None, Field(max_length=200, description="Model; null for the one this conversation is about.")
]
Words = Annotated[str, Field(min_length=1, max_length=600, description="The person's own reason, in their words.")]
Version = Annotated[str | int | None, Field(description="Version number, such as 7.")]
Since = Annotated[
    str | None, Field(max_length=60, description='As the person said it: "Tuesday", "yesterday", "3 days ago".')
]


class Args(BaseModel):
    """Arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArgs(Args):
    pass


class ModelArgs(Args):
    model: ModelName = None


class SinceArgs(ModelArgs):
    since: Since = None


class ExplainArgs(ModelArgs):
    version: Version = None
    run: Annotated[str | None, Field(max_length=120, description="Run id.")] = None


class RunArgs(Args):
    run: Annotated[str, Field(min_length=1, max_length=120, description="Run id.")]


class ReviewArgs(Args):
    review: Annotated[int, Field(ge=1, description="Review number.")]


class RetrainArgs(ModelArgs):
    window: Annotated[
        str | None, Field(max_length=80, description='Which data, as said: "60d", "last 60 days"; null if not said.')
    ] = None
    min_improvement: Annotated[float | None, Field(ge=0, description="Least gain demanded; null if not said.")] = None


class JudgeArgs(ModelArgs):
    version: Annotated[str | int, Field(description="Registered version to judge.")]


class AnswerArgs(ReviewArgs):
    answer: Answer
    reason: Words


class RollBackArgs(ModelArgs):
    version: Annotated[str | int | None, Field(description="Version to go back to; null for the last good one.")] = None
    reason: Words


class PauseArgs(Args):
    reason: Words


class GoOnArgs(ModelArgs):
    everything: Annotated[bool, Field(description="True after a pause of everything.")] = False
    reason: Words


@dataclass(frozen=True)
class Tool:
    """One thing that a chat can do."""

    name: str
    description: str
    args: type[Args]
    acts: bool = False
    """Whether anything is changed: then a person confirms it first."""

    @property
    def spec(self) -> ToolSpec:
        """As a model with native tool calls reads of it."""
        return ToolSpec(name=self.name, description=self.description, parameters=_plain(self.args.model_json_schema()))


TOOLS: Final = (
    Tool("list_models", "Which models there are.", NoArgs),
    Tool(
        "check_staleness", "Is the model in production stale? Has its data drifted, has it lost performance?", ModelArgs
    ),
    Tool("list_runs", "Retraining runs so far, newest first.", SinceArgs),
    Tool("show_run", "How one run stands, by its run id.", RunArgs),
    Tool(
        "explain_decision",
        "Why a version or run was deployed, rejected or sent to review. Give version or run; neither: the latest decision.",
        ExplainArgs,
    ),
    Tool("what_changed", "Everything that happened since a time: new champions, runs, reviews.", SinceArgs),
    Tool("history", "Which versions were in production, when and why; the present champion.", ModelArgs),
    Tool("list_reviews", "Open questions that wait for a person's approval.", ModelArgs),
    Tool("show_review", "One review by its number: what is asked, who may answer, until when.", ReviewArgs),
    Tool("list_holds", "What is paused or held.", NoArgs),
    Tool("retrain", "Retrain a model: train a candidate, compare, decide.", RetrainArgs, acts=True),
    Tool("judge_version", "Judge a registered version against the champion, without training.", JudgeArgs, acts=True),
    Tool("answer_review", "Approve or reject a review, or approve it as a canary.", AnswerArgs, acts=True),
    Tool("roll_back", "Roll production back to an earlier version.", RollBackArgs, acts=True),
    Tool("pause", "Stop everything but rollbacks, for all models.", PauseArgs, acts=True),
    Tool("go_on", "Release a held model, or go on after a pause.", GoOnArgs, acts=True),
    Tool("resume_run", "Go on with a parked, failed or killed run, by its run id.", RunArgs, acts=True),
)
BY_NAME: Final = {tool.name: tool for tool in TOOLS}
ANSWER: Final = "answer"
"""What a model chooses that wants to say something, where it cannot call tools by itself."""


@cache
def choice() -> type[BaseModel]:
    """The schema of one choice of a tool, for models whose native tool calls cannot be relied on."""
    made: list[Any] = [_chosen(tool.name, tool.args) for tool in TOOLS]
    made.append(_chosen(ANSWER, NoArgs))
    return create_model("Choice", __config__=ConfigDict(extra="forbid"), call=(cast("Any", Union[tuple(made)]), ...))  # noqa: UP007


def described() -> str:
    """The tools as a line each, for models that choose by schema."""
    lines: list[str] = []
    for tool in TOOLS:
        names = ", ".join(tool.args.model_fields)
        lines.append(f"- {tool.name}({names}): {tool.description}")
    return "\n".join([*lines, f"- {ANSWER}(): say something to the person; no tool is needed."])


def _chosen(name: str, args: type[Args]) -> type[BaseModel]:
    return create_model(
        f"Call_{name}",
        __config__=ConfigDict(extra="forbid"),
        tool=(cast("Any", Literal[name]), ...),
        arguments=(args, ...),
    )


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what only costs tokens: titles, docstrings and defaults."""
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties":
            found[name] = {key: _plain(each) for key, each in value.items()}
        elif name not in ("title", "default") and not (name == "description" and "properties" in schema):
            found[name] = [_plain(each) for each in value] if name == "anyOf" else value
    return found
