"""What is offered at every door: one method each, the same whoever asks through which door.

A method takes who asks, checks what he may do, and calls the services. Runs are driven in threads of their own, so that asking
returns at once; what they bring is read from the store, by any process.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, Final

from agent.bootstrap import App
from agent.progress import Board
from agent.services import briefs, report, reviews
from agent.services.check import Checked
from agent.services.reviews import Answer
from agent.standings import Standings, may_touch, require
from tools.contracts.access import AT_HOME, Caller
from tools.contracts.explanation import Brief
from tools.contracts.record import DecisionRecord
from tools.contracts.request import RetrainingRequest, RunKind
from tools.contracts.run import ChampionEvent, Review, RunRecord
from tools.errors import BadInput, Conflict, NotAllowed, NotFound, RetrainingError, Unavailable
from tools.windows import Fixed, parse_strategy

MOST_RUNS: Final = 64
"""Runs that one process drives at a time; who comes later is told to come again."""
MOST_ROLLBACKS: Final = 16
"""They have threads of their own: no training keeps one waiting."""
KEPT: Final = 200
"""Ended runs whose failure can still be asked for."""


class Desk:
    """Built once in a process. `close` waits for what was begun."""

    def __init__(self, app: App, *, most_runs: int = MOST_RUNS) -> None:
        self._app, self._most, self._lock = app, most_runs, Lock()
        self._runs = ThreadPoolExecutor(most_runs, thread_name_prefix="run")
        self._rollbacks = ThreadPoolExecutor(MOST_ROLLBACKS, thread_name_prefix="rollback")
        self._going: dict[str, list[Future[Any]]] = {}
        self.board = Board()
        """What the runs that this process drives say, line by line."""
        self.standings = Standings(app, self._require_model)
        """How things stand, and what keeps them still."""
        app.runs.listen(self.board.tell)

    @property
    def app(self) -> App:
        """What it is built over: for who builds a door, never for what a caller asks."""
        return self._app

    def close(self) -> None:
        """No run is left half done by an orderly end."""
        self._rollbacks.shutdown(wait=True)
        self._runs.shutdown(wait=True)

    # --- looking: scope `read` ---------------------------------------------------------------------------------------

    def assess(self, caller: Caller, request: RetrainingRequest) -> Checked:
        """Is the champion stale? Nothing is recorded or moved."""
        require(caller, "read")
        self._require_model(caller, request.model_id)
        self._require_inside(caller, request)
        return self._app.check(self._app.order("retrain", request, requested_by=caller.name))

    def get_run(self, caller: Caller, run_id: str) -> RunRecord:
        """A run as the store has it; `output` is its latest public JSON.

        Raises:
            NotFound: no such run.
        """
        require(caller, "read")
        found = self._app.deps.store.get_run(run_id)
        if not may_touch(caller, found.model_id):
            raise NotFound(f"no run {run_id!r}", thing="run", value=run_id, remedy="ask for the runs that you may see")
        return found

    def decision_record(self, caller: Caller, run_id: str) -> DecisionRecord:
        """What the run's decision rested on.

        Raises:
            NotFound: no such run. Conflict: it has decided nothing (yet).
        """
        record = self.get_run(caller, run_id)
        if record.decision_record is None:
            raise Conflict(
                f"run {run_id} ({record.kind}, {record.status}) has decided nothing: there is nothing to explain",
                thing="run",
                value=run_id,
                remedy="ask for the run itself: it tells how far it came",
            )
        return DecisionRecord.model_validate(record.decision_record)

    def list_runs(self, caller: Caller, model_id: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        """Newest first."""
        require(caller, "read")
        store = self._app.deps.store
        if model_id is not None:
            return store.list_runs(self._require_model(caller, model_id), limit)
        if caller.models is None:
            return store.list_runs(None, limit)
        found = [run for model in sorted(caller.models) for run in store.list_runs(model, limit)]
        return sorted(found, key=lambda run: (run.created_at, run.run_id), reverse=True)[:limit]

    def list_reviews(self, caller: Caller, model_id: str | None = None, *, open_only: bool = True) -> Sequence[Review]:
        """Questions to people."""
        require(caller, "read")
        wanted = None if model_id is None else self._require_model(caller, model_id)
        found = self._app.deps.store.list_reviews(open_only=open_only, model_id=wanted)
        return [review for review in found if may_touch(caller, review.model_id)]

    def get_review(self, caller: Caller, review_id: int) -> Review:
        """One question.

        Raises:
            NotFound: no such review.
        """
        require(caller, "read")
        found = self._app.deps.store.get_review(review_id)
        if not may_touch(caller, found.model_id):
            raise NotFound(
                f"no review {review_id}", thing="review", value=review_id, remedy="ask for the reviews that you may see"
            )
        return found

    def brief(self, caller: Caller, review_id: int) -> Brief:
        """What a question is about, in brief.

        Raises:
            NotFound: no such review.
        """
        return briefs.of_review(self._app.deps, self.get_review(caller, review_id))

    def history(self, caller: Caller, model_id: str) -> Sequence[ChampionEvent]:
        """What was champion when."""
        require(caller, "read")
        profile = self._app.deps.load_profile(self._require_model(caller, model_id))
        return self._app.deps.store.champions(profile.registered_model)

    def report(self, caller: Caller, run_id: str) -> str:
        """The decision report of a run, an HTML page; made now where it is missing.

        Raises:
            NotFound: no such run. Conflict: it has decided nothing.
        """
        # A run's folder is made from its id: only one that the store knows names a folder.
        run = self.get_run(caller, run_id)
        page = report.path_of(self._app.deps, run.run_id)
        if page.is_file():
            return page.read_text(encoding="utf-8")
        with TemporaryDirectory(dir=self._app.deps.work_dir) as folder:
            return self._app.runs.report(run.run_id, Path(folder) / report.PAGE).read_text(encoding="utf-8")

    # --- acting ------------------------------------------------------------------------------------------------------

    def start(self, caller: Caller, request: RetrainingRequest, warnings: tuple[str, ...] = ()) -> str:
        """Begin a run; its id. A repeated idempotency key gives the first one's.

        Raises:
            NotAllowed: scope `run` is missing. Conflict: the model has a run already, or the key was used for something
                else. BadInput: the request asks for what cannot be. Unavailable: too many runs go on.
        """
        require(caller, "run")
        return self._begin(caller, "retrain", request, warnings)

    def judge(
        self, caller: Caller, request: RetrainingRequest, candidate_version: str, warnings: tuple[str, ...] = ()
    ) -> str:
        """Begin to judge a registered version; the run's id. Raises as `start` does."""
        require(caller, "run")
        return self._begin(caller, "judge", request, warnings, candidate_version=candidate_version)

    def roll_back(self, caller: Caller, request: RetrainingRequest, reason: str, to: str | None = None) -> str:
        """Begin to go back to the last known good version, or to `to`; the run's id.

        Raises:
            NotAllowed: scope `roll_back` is missing. BadInput: no reason.
        """
        require(caller, "roll_back")
        if not reason.strip():
            raise BadInput("a rollback needs a reason", thing="reason", value=reason, remedy="say why")
        return self._begin(caller, "rollback", request, (), rollback_to=to, reason=reason)

    def submit_review(
        self, caller: Caller, review_id: int, verdict: Answer, reason: str, *, seen: str | None = None
    ) -> Review:
        """Record a person's answer and go on with the run behind it. `seen` is the digest of what he was shown.

        Raises:
            NotAllowed: scope `review` is missing, the caller is no person, no approver, in another role, or asked himself for
                what takes four eyes. Conflict: no longer open, or no longer about what is so.
        """
        require(caller, "review")
        self.get_review(caller.model_copy(update={"scopes": caller.scopes | {"read"}}), review_id)
        answered = reviews.answer(self._app.deps, review_id, verdict, reason, by=caller, seen=seen)
        self._go_on(answered.run_id)
        return answered

    def resume(self, caller: Caller, run_id: str) -> None:
        """Go on with a run that is parked, failed or was killed.

        Raises:
            NotAllowed: scope `run` is missing. NotFound: no such run.
        """
        require(caller, "run")
        self.get_run(caller.model_copy(update={"scopes": caller.scopes | {"read"}}), run_id)
        self._go_on(run_id)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def is_going(self, run_id: str) -> bool:
        """Whether this process drives the run just now."""
        return any(not each.done() for each in self._going.get(run_id, ()))

    def is_driven(self, record: RunRecord) -> bool:
        """Whether any process does: a run whose process was killed stays `running` in the store."""
        if self.is_going(record.run_id):
            return True
        lease = self._app.deps.store.current_lease(record.model_name)
        if lease is None or lease.run_id != record.run_id:
            return False
        return lease.expires_at is None or lease.expires_at > self._app.deps.clock()

    def wait_for(self, run_id: str, seconds: float | None = None) -> None:
        """Until the run that this process drives has ended or parked; at once for any other.

        Raises:
            RetrainingError: what ended it.
        """
        going = self._going.get(run_id)
        if not going:
            return
        wait(going, seconds)
        errors = [each.exception() if each.done() else None for each in going]
        # A repeated request finds its run under way: that is no fault of the run.
        if errors[0] is not None and None not in errors:
            raise errors[0]

    def _begin(
        self, caller: Caller, kind: RunKind, request: RetrainingRequest, warnings: tuple[str, ...], **more: Any
    ) -> str:
        self._require_model(caller, request.model_id)
        self._require_inside(caller, request)
        order = self._app.order(kind, request, warnings, requested_by=caller.name, context=caller.context, **more)
        pool = self._rollbacks if kind == "rollback" else self._runs
        begun, ended = Future[str](), Future[Any]()
        if kind != "rollback":
            self._require_room()

        def recorded(run_id: str) -> None:
            self._keep(run_id, ended)
            begun.set_result(run_id)

        def repeated(run_id: str) -> None:
            # Asked for twice: whoever waits for the run waits for the thread that drives it.
            if not self.is_going(run_id):
                self._keep(run_id, ended)
            begun.set_result(run_id)

        def drive() -> None:
            try:
                output = self._app.runs.start(order, recorded=recorded, repeated=repeated)
            except BaseException as error:  # noqa: BLE001 (whoever waits is told)
                (ended if begun.done() else begun).set_exception(error)
            else:
                ended.set_result(output)

        _submit(pool, drive)
        return begun.result()

    def _go_on(self, run_id: str) -> None:
        self._keep(run_id, _submit(self._runs, self._app.runs.resume, run_id, wait=True))

    def _keep(self, run_id: str, going: Future[Any]) -> None:
        with self._lock:
            over = [name for name, each in self._going.items() if all(future.done() for future in each)]
            for name in over[:-KEPT]:
                del self._going[name]
            others = [each for each in self._going.get(run_id, ()) if not each.done()]
            self._going[run_id] = [*others, going]
        going.add_done_callback(lambda done: self._told(run_id, done.exception()))

    def _told(self, run_id: str, error: BaseException | None) -> None:
        if error is not None and not self.is_going(run_id):
            message = error.message if isinstance(error, RetrainingError) else type(error).__name__
            self._app.deps.progress(f"run {run_id}: {message}")
            self.board.tell(run_id, message)
        self.board.stir(run_id)

    def _require_room(self) -> None:
        going = sum(self.is_going(each) for each in list(self._going))
        if going >= self._most:
            raise Unavailable(
                f"{going} runs go on in this process already", thing="runs", value=going, remedy="ask again in a minute"
            )

    def _require_inside(self, caller: Caller, request: RetrainingRequest) -> None:
        """No file that the profile does not name is opened because somebody from outside has named it."""
        strategy = request.retraining_config.validation_strategy
        if strategy is None or caller.door in AT_HOME:
            return
        asked = parse_strategy(strategy)
        if not isinstance(asked, Fixed):
            return
        allowed = parse_strategy(self._app.deps.load_profile(request.model_id).validation_strategy)
        if asked != allowed:
            raise NotAllowed(
                f"the file of 'fixed:' is not the one that the profile of {request.model_id!r} names",
                thing="validationStrategy",
                value=strategy,
                remedy="leave validationStrategy out, or write latest:20%, latest:14d or rolling:3x14d",
            )

    def _require_model(self, caller: Caller, model_id: str) -> str:
        """The profile's id. Who is kept to some models does not learn which others there are."""
        try:
            found = self._app.deps.load_profile(model_id).id
        except BadInput:
            if caller.models is None:
                raise
            found = None
        if found is None or not may_touch(caller, found):
            raise NotAllowed(
                f"{caller.name!r} may not touch {model_id!r}",
                thing="modelId",
                value=model_id,
                remedy=f"use a key for it; this one is for {', '.join(sorted(caller.models or ()))}",
            )
        return found


def _submit(pool: ThreadPoolExecutor, act: Callable[..., Any], *given: Any, **named: Any) -> Future[Any]:
    try:
        return pool.submit(act, *given, **named)
    except RuntimeError as error:  # the pool is shut
        raise Unavailable("this process is stopping", thing="runs", remedy="ask again in a minute") from error
