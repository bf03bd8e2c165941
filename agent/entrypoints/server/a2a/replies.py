"""What is answered at once, without a task? Looks, explanations, and what this agent does not do."""

from typing import Any

from a2a.helpers.proto_helpers import new_data_part, new_message, new_text_part
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import (
    AgentCard,
    ContentTypeNotSupportedError,
    DeleteTaskPushNotificationConfigRequest,
    ExtendedAgentCardNotConfiguredError,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    InvalidParamsError,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    Message,
    PushNotificationNotSupportedError,
    SendMessageRequest,
    TaskPushNotificationConfig,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import validate_history_length

from agent.desk import Desk
from agent.entrypoints.server.a2a.card import JSON, TEXT
from agent.entrypoints.server.a2a.messages import LONGEST_ID, Ask
from tools.contracts.access import Caller
from tools.errors import BadInput, Conflict

_NO_PUSH = (
    "no address that a caller names is ever written to\n"
    "  remedy: follow the task with SendStreamingMessage or SubscribeToTask, or ask with GetTask"
)


def require_ours(params: SendMessageRequest) -> None:
    """Whatever can be said of a message before it is read.

    Raises:
        A2AError: a field is missing, an id too long, or something is wanted that is not on offer.
    """
    validate_proto_required_fields(params)
    validate_history_length(params.configuration)
    message = params.message
    for name, given in (("messageId", message.message_id), ("contextId", message.context_id)):
        if len(given) > LONGEST_ID:
            raise InvalidParamsError(
                f"{name} has {len(given)} characters\n  remedy: send one of at most {LONGEST_ID}, such as a UUID"
            )
    if params.configuration.HasField("task_push_notification_config"):
        raise PushNotificationNotSupportedError(_NO_PUSH)
    modes = list(params.configuration.accepted_output_modes)
    if modes and not {JSON, TEXT, "*/*", "application/*", "text/*"} & set(modes):
        raise ContentTypeNotSupportedError(f"none of {modes} is given here\n  remedy: accept {JSON} or {TEXT}")


def message_of(text: str, data: dict[str, Any] | None = None, *, context_id: str = "") -> Message:
    """An answer that is no task: words first, the same as data where there is any."""
    parts = [new_text_part(text, media_type=TEXT)]
    if data is not None:
        parts.append(new_data_part(data, media_type=JSON))
    return new_message(parts, context_id=context_id or None)


def answer_at_once(desk: Desk, caller: Caller, ask: Ask) -> tuple[str, dict[str, Any]]:
    """Words and data for a skill that begins nothing; blocks.

    Raises:
        RetrainingError: as the desk does. Conflict: the run has nothing to tell yet.
    """
    if ask.skill == "assess_staleness":
        if ask.request is None:
            raise BadInput("the data holds no request", thing="request", remedy="send one")
        checked = desk.assess(caller, ask.request)
        data = checked.to_json_dict() | ({"warnings": list(ask.warnings)} if ask.warnings else {})
        return f"{checked.trigger.statement}\n{checked.alert.sentence}", data
    record = desk.get_run(caller, ask.run_id)
    if ask.skill == "get_run":
        if record.output is not None:
            decision = record.output["deploymentDecision"]
            return f"Run {record.run_id} is {record.status}; decision {decision['decision']}.", record.output
        why = f": {record.error}" if record.error else ""
        told = {"runId": record.run_id, "modelId": record.model_id, "kind": record.kind, "status": record.status}
        return f"Run {record.run_id} is {record.status} and has no output yet{why}", told
    if record.output is None:
        raise Conflict(
            f"run {record.run_id} is {record.status} and has decided nothing yet",
            thing="runId",
            value=record.run_id,
            remedy="ask again once it has",
        )
    decision = record.output["deploymentDecision"]
    kept = {name: record.output[name] for name in ("comparison", "evidence") if name in record.output}
    return decision["rationale"], {"runId": record.run_id, "deploymentDecision": decision, **kept}


class NotOffered(RequestHandler):
    """The methods of the protocol that are refused, whoever asks."""

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """No calls back."""
        raise PushNotificationNotSupportedError(_NO_PUSH)

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """No calls back."""
        raise PushNotificationNotSupportedError(_NO_PUSH)

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """No calls back."""
        raise PushNotificationNotSupportedError(_NO_PUSH)

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """No calls back."""
        raise PushNotificationNotSupportedError(_NO_PUSH)

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """There is one card."""
        raise ExtendedAgentCardNotConfiguredError("there is one card\n  remedy: read the one at the well-known address")
