"""The one place that builds things: environment and workspace in, services out."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agent.deps import Deps, silent
from agent.profiles import list_profiles, load_profile
from agent.services import check as checks
from agent.services import lineage, reviews, sweep
from agent.services.check import Checked
from agent.services.runs import Runs
from agent.services.sweep import Swept
from agent.services.watch import Watch
from agent.settings import Settings, read_settings
from agent.workspace import Workspace, find_workspace
from prompts.loader import load as load_prompt
from tools.contracts.language import check_base_url
from tools.contracts.peer_settings import Role
from tools.contracts.profile import BatchTarget, CommandTarget, Profile, SeldonTarget, ServingTarget
from tools.contracts.request import RetrainingRequest, RunKind, RunOrder
from tools.errors import BadInput, NotFound
from tools.ports import (
    Clock,
    DeploymentTarget,
    DriftDetective,
    LanguageModel,
    ModelEvaluator,
    Notifier,
    PromptRegistry,
    RationaleWriter,
    TrafficLog,
)

if TYPE_CHECKING:
    from tools.adapters.remote_peer import RemotePeer
    from tools.adapters.serving.answer_copy import AnswerCopy
    from tools.adapters.serving.target import ServingTargetAdapter


@dataclass(frozen=True)
class App:
    """What a door holds: services and the workspace they work in."""

    workspace: Workspace
    deps: Deps
    runs: Runs
    quick_detective: DriftDetective | None = None
    """The drift-detective for checks, where there is one that writes no page."""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where `${NAME}` in a source is looked up."""
    language: LanguageModel | None = None
    """The configured language model; None where there is none."""

    @property
    def prompts(self) -> PromptRegistry:
        """Where versions of the prompts are kept."""
        from tools.adapters.mlflow_prompts import MlflowPrompts

        return MlflowPrompts(self.workspace.registry_uri, self.workspace.tracking_uri)

    def order(
        self,
        kind: RunKind,
        request: RetrainingRequest,
        warnings: tuple[str, ...] = (),
        *,
        requested_by: str | None = None,
        candidate_version: str | None = None,
        rollback_to: str | None = None,
        of_run: str | None = None,
        reason: str | None = None,
        context: str | None = None,
    ) -> RunOrder:
        """A request as accepted: 'now' resolved, requester named."""
        return RunOrder(
            kind=kind,
            request=request,
            requested_by=requested_by or reviews.os_user(),
            context=context,
            as_of=request.retraining_config.as_of or self.deps.clock(),
            candidate_version=candidate_version,
            rollback_to=rollback_to,
            of_run=of_run,
            reason=reason,
            warnings=warnings,
        )

    def check(self, order: RunOrder, *, page: Path | None = None) -> Checked:
        """Staleness, the trigger's verdict and the alert, without a run: nothing is recorded or moved.

        With `page`, the drift-detective's page is kept there; making it takes seconds.
        """
        return checks.check(self.deps if page is not None else self._quick, order, page=page)

    def sweep(self, order_of: Callable[[str], RunOrder], *, only: str = "", parallel: int | None = None) -> Swept:
        """`check` for every profile of the workspace, in threads.

        Args:
            order_of: The order for a profile's id.
            only: Text that an id must hold.
            parallel: Checks at a time; the machine's cores where None.

        Raises:
            NotFound: No profile's id holds it, or there is none at all.
        """
        models = [entry.id for entry in list_profiles(self.workspace) if only in entry.id]
        if not models:
            what = (
                f"no profile's id holds {only!r}" if only else f"there are no profiles in {self.workspace.profiles_dir}"
            )
            raise NotFound(
                what, thing="profiles", value=only or None, remedy="`retrain profile list` shows what there is"
            )
        return sweep.sweep(self._quick, models, order_of, parallel=parallel)

    @property
    def _quick(self) -> Deps:
        return self.deps if self.quick_detective is None else replace(self.deps, drift_detective=self.quick_detective)

    def watch(self) -> Watch:
        """Looks at what is due: rollouts, and questions that nobody answered."""
        return Watch(self.deps, self.runs)

    def answer(self, review_id: int, verdict: Literal["approve", "canary", "reject"], reason: str) -> dict[str, Any]:
        """Record the OS user's answer and go on with the run."""
        answered = reviews.answer(self.deps, review_id, verdict, reason)
        return self.runs.resume(answered.run_id)


def bootstrap(
    *,
    environ: Mapping[str, str],
    start: Path,
    workspace: Path | None = None,
    progress: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> App:
    """Build everything for the workspace found from `start`, or named by argument or environment."""
    settings = read_settings(environ)
    return build(
        find_workspace(start, workspace or settings.workspace, environ), settings, progress=progress, clock=clock
    )


def build(
    space: Workspace,
    settings: Settings,
    *,
    progress: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> App:
    """Adapters for a workspace. Heavy libraries are imported by the adapters when they are first used."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    from tools.adapters.capped_scorer import CappedScorer
    from tools.adapters.capped_trainer import CappedTrainer
    from tools.adapters.drift_local import LocalDriftDetective
    from tools.adapters.external_trainer import ExternalTrainer
    from tools.adapters.ibis_data import IbisData
    from tools.adapters.mlflow_registry import MlflowRegistry
    from tools.adapters.mlflow_tracking import MlflowTracking
    from tools.adapters.processes import this_holder
    from tools.adapters.project_trainer import ProjectTrainer
    from tools.adapters.store import SqlStore
    from tools.adapters.subprocess_scorer import SubprocessScorer

    now: Clock = clock or _utc_now
    work_dir = space.work_dir
    work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = IbisData(space.root, settings.variables)
    scorer = SubprocessScorer(space.tracking_uri, space.registry_uri, work_dir / "environments")

    def source_of(model_uri: str) -> str:
        from tools.adapters.mlflow_client import client_for, location_of

        return location_of(client_for(space.tracking_uri, space.registry_uri), space.registry_uri, model_uri)

    registry = MlflowRegistry(space.registry_uri, space.tracking_uri)

    def recorded_digest(profile: Profile, version: str) -> str | None:
        return lineage.read(registry.get_version(profile.registered_model, version)).artifact_digest

    def target_of(profile: Profile) -> DeploymentTarget:
        if isinstance(profile.target, CommandTarget):
            from tools.adapters.command_target import CommandTargetAdapter

            return CommandTargetAdapter(profile.target, space.root)
        if isinstance(profile.target, SeldonTarget):
            from tools.adapters.seldon.target import SeldonTargetAdapter

            return SeldonTargetAdapter(profile.target, profile.registered_model, source_of)
        if isinstance(profile.target, ServingTarget):
            return serving_target(space, profile, progress or silent)
        if isinstance(profile.target, BatchTarget):
            from tools.adapters.batch_target import BatchTargetAdapter

            return BatchTargetAdapter(
                profile,
                data=data,
                scorer=scorer,
                root=space.root,
                work_dir=work_dir,
                clock=now,
                environ=settings.variables,
                digest_of=lambda version: recorded_digest(profile, version),
            )
        from tools.adapters.alias_target import AliasTargetAdapter

        return AliasTargetAdapter()

    remote = remote_peers(space)
    detective, evaluator = peers_of(remote, now)

    def asked_target_of(profile: Profile) -> DeploymentTarget:
        engineer = remote.get("deployment-engineer")
        if engineer is None:
            return target_of(profile)
        from tools.adapters.remote_ports import RemoteTarget

        return RemoteTarget(engineer, profile.id, target_of(profile), now, _new_id)

    def traffic_log_of(profile: Profile, target: DeploymentTarget) -> TrafficLog | None:
        from tools.adapters.label_store import own_labels
        from tools.adapters.traffic_log import IbisLabels, IbisTrafficLog, LabelledLog

        rollout = profile.rollout
        labels = rollout.labels or own_labels(work_dir, profile.id)
        log: TrafficLog | None = target.log
        if rollout.log is not None:
            log = IbisTrafficLog(rollout.log, labels, space.root, settings.variables)
        elif log is not None:
            log = LabelledLog(log, IbisLabels(labels, space.root, settings.variables))
        copies = answer_copy(space, profile, settings.variables)
        if log is None or copies is None:
            return log
        from tools.adapters.serving.answer_copy import CopiedLog

        return CopiedLog(log, copies, progress or silent)

    language = language_model(space, settings, now)
    deps = Deps(
        store=SqlStore(space.store, now),
        registry=registry,
        tracking=MlflowTracking(space.tracking_uri),
        data=data,
        # What trains elsewhere takes no core of ours.
        trainers={
            "project": CappedTrainer(ProjectTrainer(space.tracking_uri)),
            "external": ExternalTrainer(space.tracking_uri),
        },
        scorer=CappedScorer(scorer),
        drift_detective=detective,
        model_evaluator=evaluator,
        target_of=asked_target_of,
        traffic_log_of=traffic_log_of,
        rationale=_writer(language, settings),
        root=space.root,
        work_dir=work_dir,
        clock=now,
        new_id=_new_id,
        load_profile=lambda model_id: load_profile(space, model_id).profile,
        notifier_of=lambda profile: _notifier(profile, settings),
        progress=progress or silent,
    )
    runs = Runs(deps, checkpointer(work_dir, SqliteSaver), this_holder())
    quick = None if "drift-detective" in remote else LocalDriftDetective(now, html=False)
    return App(space, deps, runs, quick, settings.variables, language)


def remote_peers(space: Workspace) -> "Mapping[Role, RemotePeer]":
    """The peers of `retraining.yaml`; calls nobody."""
    if not space.peers:
        return {}
    from tools.adapters.remote_peer import RemotePeer

    return {role: RemotePeer(role, spec) for role, spec in space.peers.items()}


def peers_of(remote: "Mapping[Role, RemotePeer]", now: Clock) -> tuple[DriftDetective, ModelEvaluator]:
    """The two that are asked for an opinion: elsewhere where the settings say so, else in this process."""
    from tools.adapters.drift_local import LocalDriftDetective
    from tools.adapters.evaluator_local import LocalModelEvaluator

    detective: DriftDetective = LocalDriftDetective(now)
    evaluator: ModelEvaluator = LocalModelEvaluator(now)
    if remote:
        from tools.adapters.remote_ports import RemoteDriftDetective, RemoteModelEvaluator

        if "drift-detective" in remote:
            detective = RemoteDriftDetective(remote["drift-detective"])
        if "model-evaluator" in remote:
            evaluator = RemoteModelEvaluator(remote["model-evaluator"])
    return detective, evaluator


def serving_target(space: Workspace, profile: Profile, progress: Callable[[str], None]) -> "ServingTargetAdapter":
    """The embedded servers of a profile's model; starts nothing."""
    from tools.adapters.model_files import ModelFiles
    from tools.adapters.serving.layout import layout_of
    from tools.adapters.serving.target import ServingTargetAdapter

    return ServingTargetAdapter(
        profile,
        layout_of(space.work_dir, profile.id),
        ModelFiles(space.tracking_uri, space.registry_uri),
        space.work_dir / "environments",
        progress,
    )


def answer_copy(space: Workspace, profile: Profile, environ: Mapping[str, str]) -> "AnswerCopy | None":
    """What copies the embedded servers' answers; None where the profile names no table for them."""
    if not isinstance(profile.target, ServingTarget) or profile.target.answers is None:
        return None
    from tools.adapters.appended_table import AppendedTable
    from tools.adapters.serving.answer_copy import KEY, TIME, AnswerCopy
    from tools.adapters.serving.layout import layout_of

    places = layout_of(space.work_dir, profile.id)
    table = AppendedTable(profile.target.answers, space.root, environ, key=KEY, thing="target.answers", bounded_by=TIME)
    return AnswerCopy(places.answers, places.folder / "copied.json", table, profile.task)


def _notifier(profile: Profile, settings: Settings) -> Notifier:
    from tools.adapters.apprise_notifier import AppriseNotifier

    return AppriseNotifier(profile.notify.urls, settings.variables, profile.review.escalate_to)


def checkpointer(work_dir: Path, saver: Any, name: str = "checkpoints.db") -> Any:
    """LangGraph's checkpoints in a file of the workspace, readable by its owner only."""
    import sqlite3

    from tools.adapters.sqlite_files import LOCK_SECONDS, write_ahead

    path = work_dir / name
    path.touch(mode=0o600, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False, timeout=LOCK_SECONDS)
    write_ahead(connection)
    return saver(connection)


def language_model(space: Workspace, settings: Settings, clock: Clock) -> LanguageModel | None:
    """The configured model, not yet asked anything; None where none is configured.

    Raises:
        BadInput: OPENAI_BASE_URL is no address of an endpoint.
    """
    model = settings.llm_model or space.llm_model
    if model is None:
        return None
    from tools.adapters.endpoint_memory import EndpointMemory
    from tools.adapters.openai_model import OpenAIModel

    url = settings.openai_base_url or space.llm.base_url
    try:
        if url is not None:
            check_base_url(url)
    except ValueError as error:
        raise BadInput(str(error), thing="OPENAI_BASE_URL", remedy="e.g. http://127.0.0.1:8080/v1") from None
    trace = None
    if space.llm.trace:
        from tools.adapters.mlflow_trace import MlflowTrace

        trace = MlflowTrace(space.tracking_uri)
    memory = EndpointMemory(space.work_dir / "language.db", clock, space.llm.probe_days)
    return OpenAIModel(
        base_url=url,
        api_key=settings.openai_api_key,
        model=model,
        spec=space.llm,
        memory=memory,
        trace=trace,
        clock=clock,
    )


def _writer(language: LanguageModel | None, settings: Settings) -> RationaleWriter:
    """The configured model words the rationale; without one, the template does."""
    from tools.adapters.template_rationale import TemplateWriter

    template = TemplateWriter(load_prompt("template_rationale"))
    if language is None:
        return template
    from tools.adapters.model_rationale import ModelWriter

    return ModelWriter(
        model=language, prompt=load_prompt("rationale"), fallback=template, secret=settings.openai_api_key
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    """Sortable by time, unguessable, fit for file names."""
    return f"r{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
