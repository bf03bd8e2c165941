"""Which tasks are there? Runs of every door, filtered and in pages as the protocol has them."""

from collections.abc import Sequence
from typing import Final

from a2a.types import InvalidParamsError, ListTasksRequest, ListTasksResponse, TaskState
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.task import decode_page_token, encode_page_token, validate_history_length, validate_page_size

from agent.desk import Desk
from agent.entrypoints.server.a2a.follow import Follower
from agent.entrypoints.server.a2a.tasks import Standing, context_of, state_of, task_of
from tools.contracts.access import Caller
from tools.contracts.run import RunRecord

MOST: Final = 1000
"""Runs that are looked through, newest first."""


def list_tasks(desk: Desk, runs: Follower, caller: Caller, params: ListTasksRequest) -> ListTasksResponse:
    """A page of tasks, the most recently changed first; blocks.

    Raises:
        NotAllowed: scope `read` is missing. InvalidParamsError: a page that there is not.
    """
    size = params.page_size if params.HasField("page_size") else DEFAULT_LIST_TASKS_PAGE_SIZE
    validate_page_size(size)
    validate_history_length(params)
    found = [record for record in desk.list_runs(caller, limit=MOST) if _fits(record, params)]
    standings = [runs.standing(caller, record) for record in sorted(found, key=_order, reverse=True)]
    if params.status != TaskState.TASK_STATE_UNSPECIFIED:
        standings = [each for each in standings if state_of(each) == params.status]
    first = _first(standings, params.page_token)
    page = standings[first : first + size]
    more = first + size < len(standings)
    tasks = [task_of(each) for each in page]
    if not params.include_artifacts:
        for task in tasks:
            task.ClearField("artifacts")
    return ListTasksResponse(
        tasks=tasks,
        next_page_token=encode_page_token(page[-1].record.run_id) if more else "",
        page_size=size,
        total_size=len(standings),
    )


def _fits(record: RunRecord, params: ListTasksRequest) -> bool:
    if params.context_id and context_of(record) != params.context_id:
        return False
    after = params.status_timestamp_after
    return not params.HasField("status_timestamp_after") or record.updated_at.timestamp() >= after.ToNanoseconds() / 1e9


def _order(record: RunRecord) -> tuple[float, str]:
    return record.updated_at.timestamp(), record.run_id


def _first(standings: Sequence[Standing], token: str) -> int:
    if not token:
        return 0
    last = decode_page_token(token)
    for index, each in enumerate(standings):
        if each.record.run_id == last:
            return index + 1
    raise InvalidParamsError("pageToken names no page of this list\n  remedy: begin again without it")
