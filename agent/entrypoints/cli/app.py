"""The command line. Heavy modules are imported inside the commands: `--help` must be instant."""

import sys

import typer
from typer.exceptions import TyperException

from agent.entrypoints.cli import (
    batch,
    chat,
    check,
    explain,
    history,
    holds,
    init,
    keys,
    labels,
    mcp,
    policy,
    profiles,
    prompts,
    reviews,
    rollouts,
    runs,
    serve,
    serving,
    setup,
    validation,
    watch,
)
from agent.entrypoints.cli.render import SCREEN
from tools.errors import BadInput, RetrainingError

app = typer.Typer(
    name="retrain",
    help="Decide with evidence whether a production model should be retrained; roll out, watch, go back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done (whatever was decided) · 2 bad input · 3 not found · 4 busy or already done · "
    "5 not allowed · 6 unavailable · 7 timed out · 70 broken invariant · 130 interrupted · "
    "with --exit-code: 10 reject, 11 manual_review.",
)
app.command("run")(runs.run)
app.command("judge", short_help="Is a version made elsewhere better?")(runs.judge)
app.command("check", short_help="Is the champion stale, or any champion? Touches nothing.")(check.check)
app.command("chat", short_help="Ask in words; what acts is confirmed first.")(chat.chat)
app.add_typer(reviews.app, name="review")
app.command("rollback", short_help="Back to the last known good version, proved.")(runs.rollback)
app.add_typer(rollouts.app, name="rollout")
app.command("watch", short_help="Go on with rollouts and overdue questions.")(watch.watch)
app.command("holds", short_help="What stands still until a person says so.")(holds.holds)
app.command("release", short_help="Let a model go on after a rollback.")(holds.release)
app.command("pause", short_help="Stop everything but rollbacks.")(holds.pause)
app.command("resume", short_help="Go on after `pause --all`.")(holds.resume)
app.add_typer(runs.app, name="runs")
app.command("history")(history.history)
app.command("explain", short_help="Why a decision was taken, with its evidence.")(explain.explain)
app.command("init", short_help="Write retraining.yaml and draft profiles.")(init.init)
app.add_typer(profiles.app, name="profile")
app.add_typer(validation.app, name="validation")
app.add_typer(policy.app, name="policy")
app.add_typer(prompts.app, name="prompts")
app.add_typer(serving.app, name="serving")
app.add_typer(labels.app, name="labels")
app.add_typer(batch.app, name="batch")
app.add_typer(keys.app, name="keys")
app.command("serve", short_help="HTTP, A2A, MCP and webhooks, for who has a key.")(serve.serve)
app.command("mcp", short_help="Serve a client of the Model Context Protocol over stdio.")(mcp.mcp)
app.command("schema")(setup.schema)
app.command("doctor", short_help="What is missing before a run?")(setup.doctor)
app.command("demo", short_help="Improve, refuse, go back, ask: on real data.")(setup.demo)


def main() -> None:
    """Entry point of `retrain` and `retraining-orchestrator`."""
    try:
        code = app(standalone_mode=False)
    except RetrainingError as error:
        sys.exit(SCREEN.error(error))
    except TyperException as error:
        sys.exit(_usage(error))
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: TyperException) -> int:
    """Options and commands that do not exist: as typer says it, or as JSON where that was asked for."""
    if "--json" not in sys.argv:
        error.show()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] only the base class lacks it
        return error.exit_code
    SCREEN.json = True
    remedy = "`retrain COMMAND --help` lists what there is"
    return SCREEN.error(BadInput(error.format_message(), thing="command line", remedy=remedy))


if __name__ == "__main__":
    main()
