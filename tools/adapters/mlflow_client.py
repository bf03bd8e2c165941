# pyright: basic
"""What registry and tracking share: one client without global state, and MLflow's errors in our words."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tools.errors import BadInput, NotAllowed, NotFound, RetrainingError, Unavailable
from tools.masking import masked

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_ADDRESS = "write https://…, sqlite:///FILE, postgresql://… or databricks in retraining.yaml"
_OWN_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Standard output is ours: JSON, often.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
SET_BY_US: set[str] = set()
"""Variables that this process gave itself: a pipeline that uploads a large model must not inherit our haste."""


def client_for(tracking_uri: str, registry_uri: str | None = None) -> Any:
    """An MlflowClient that gives up within seconds instead of minutes, and asks nobody outside."""
    for name, value in _OWN_SETTINGS.items():
        if name not in os.environ:
            os.environ[name] = value
            SET_BY_US.add(name)
    _quiet()
    from mlflow import MlflowClient

    _probe("tracking server", tracking_uri)
    if registry_uri not in (None, tracking_uri):
        _probe("registry", registry_uri)
    with translated("tracking server", tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri or tracking_uri)


def _probe(what: str, uri: str) -> None:
    """One look at a database: MLflow would look ten times, for a hundred seconds, before it said why it cannot."""
    from sqlalchemy import create_engine, inspect, make_url
    from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

    try:
        urlsplit(uri)
        url = make_url(uri) if uri.startswith(_DATABASES) else None
        if url is None:
            return
        engine = create_engine(url)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"the {what} at {masked(uri)} needs the Python package {error.name}, which is not installed",
            thing=what,
            value=masked(uri),
            remedy=f"install {error.name} beside this program",
        ) from error
    except (ArgumentError, ValueError) as error:
        raise _no_address(what, uri) from error
    with translated(what, uri):
        try:
            if url.get_backend_name() == "sqlite" and url.database:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            inspect(engine).get_table_names()
        except OperationalError:
            raise
        except DatabaseError as error:
            raise BadInput(
                f"the {what} at {masked(uri)} cannot be read: {_first_line(str(error.orig))}",
                thing=what,
                value=masked(uri),
                remedy="name a database that MLflow made, or a new file",
            ) from error
        finally:
            engine.dispose()


def location_of(client: Any, registry_uri: str, model_uri: str) -> str:
    """Where a model's files lie. MLflow itself would ask its global servers, not ours.

    Takes `models:/m-ID`, `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/ID/PATH` or a plain location.
    """
    if model_uri.startswith("runs:/"):
        run_id, _, path = model_uri.removeprefix("runs:/").partition("/")
        return f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{path}"
    if not model_uri.startswith("models:/"):
        return model_uri
    name, _, version = model_uri.removeprefix("models:/").rpartition("/")
    if not name and version.startswith("m-") and "@" not in version:
        return client.get_logged_model(version).artifact_location
    if registry_uri.startswith(("databricks", "uc:")):
        return model_uri  # these registries hand out credentials with the files, by the URI that is given along
    if not name:
        name, _, alias = version.rpartition("@")
        if not name:
            raise BadInput(
                f"{model_uri!r} names no model",
                thing="model",
                value=model_uri,
                remedy="write models:/NAME/VERSION, models:/NAME@ALIAS or models:/m-ID",
            )
        version = str(client.get_model_version_by_alias(name, alias).version)
    location = client.get_model_version_download_uri(name, version)
    return location_of(client, registry_uri, location) if location.startswith(("models:/", "runs:/")) else location


def artifact_location(tracking_uri: str, experiment: str) -> str | None:
    """Where a new experiment's files go: beside a SQLite file, else as the server says.

    MLflow's own default is `mlruns` in whatever folder the process happens to be in. A URI, because MLflow unquotes
    what it takes for a path: an experiment named `../x` would leave the folder.
    """
    found = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", tracking_uri)
    if found is None or found[1] == ":memory:":
        return None
    return (Path(found[1]).resolve().parent / "mlruns" / quote(experiment, safe="")).as_uri()


def experiment_id(client: Any, tracking_uri: str, name: str) -> str:
    """The experiment of that name, made where there is none.

    Raises:
        BadInput: It was deleted.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        raise BadInput(
            f"the experiment {name!r} was deleted",
            thing="experiment",
            value=name,
            remedy="restore it, or delete it for good (`mlflow gc`)",
        )
    if found is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name, artifact_location=artifact_location(tracking_uri, name))
    except MlflowException as error:
        # Another process was quicker.
        found = client.get_experiment_by_name(name)
        if error.error_code == "RESOURCE_ALREADY_EXISTS" and found is not None:
            return found.experiment_id
        raise


def _quiet() -> None:
    """MLflow and alembic narrate their first use; that is no progress of ours."""
    import logging

    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.ERROR)


@contextmanager
def translated(what: str, uri: str, missing: str | None = None) -> Iterator[None]:
    """MLflow's and the database's exceptions as ours; `missing` is said where the thing does not exist."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except RetrainingError:
        raise
    except MlflowException as error:
        # Over the wire the code stands before the text once more.
        code, text = error.error_code, _first_line(str(error.message)).removeprefix(f"{error.error_code}: ")
        if "unsupported URI" in text or text.startswith("Model Registry features are not supported"):
            raise _no_address(what, uri) from error
        if code in ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
            raise _refused(what, uri, text) from error
        if code == "RESOURCE_DOES_NOT_EXIST" or (missing is not None and "not found" in text.lower()):
            raise NotFound(missing or text, thing=what, value=masked(uri), remedy="check the name") from error
        if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"):
            raise BadInput(f"the {what} refused: {text}", thing=what, value=masked(uri)) from error
        raise _unavailable(what, uri, text) from error
    except (SQLAlchemyError, OSError) as error:
        # Artifacts travel outside of MLflow's own protocol: there, a refusal is an HTTP status.
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise _refused(what, uri, _first_line(str(error))) from error
        raise _unavailable(what, uri, _first_line(str(error))) from error


def _first_line(text: str) -> str:
    return next((line.strip() for line in masked(text).splitlines() if line.strip()), "no reason given")


def _no_address(what: str, uri: str) -> BadInput:
    return BadInput(f"{masked(uri)!r} is no address of a {what}", thing=what, value=masked(uri), remedy=_ADDRESS)


def _refused(what: str, uri: str, why: str) -> NotAllowed:
    return NotAllowed(
        f"the {what} refused: {why[:300]}",
        thing=what,
        value=masked(uri),
        remedy="check the credentials' permissions",
    )


def _unavailable(what: str, uri: str, why: str) -> Unavailable:
    return Unavailable(
        f"the {what} at {masked(uri)} did not answer: {why[:300]}",
        thing=what,
        value=masked(uri),
        remedy="check that it runs and that the address in retraining.yaml is right",
    )


def when(milliseconds: int | None) -> datetime | None:
    """MLflow's time stamps as aware times."""
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
