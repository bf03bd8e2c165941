"""The command line. Heavy modules are imported inside the commands: `--help` must be instant."""

import sys

import typer

from agent.entrypoints.cli import history, init, profiles, reviews, runs, setup
from agent.entrypoints.cli.render import SCREEN
from tools.errors import RetrainingError

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
app.command("judge")(runs.judge)
app.command("check")(runs.check)
app.add_typer(reviews.app, name="review")
app.command("rollback")(runs.rollback)
app.add_typer(runs.app, name="runs")
app.command("history")(history.history)
app.command("init")(init.init)
app.add_typer(profiles.app, name="profile")
app.command("schema")(setup.schema)
app.command("doctor")(setup.doctor)
app.command("demo")(setup.demo)


def main() -> None:
    """Entry point of `retrain` and `retraining-orchestrator`."""
    try:
        app()
    except RetrainingError as error:
        sys.exit(SCREEN.error(error))
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
