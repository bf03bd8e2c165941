# pyright: basic
"""What registry and tracking share: one client without global state, and MLflow's errors in our words."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tools.errors import BadInput, NotAllowed, NotFound, RetrainingError, Unavailable

_PASSWORD = re.compile(r"(://[^:/@\s]+:)[^@\s]+@")


def masked(text: str) -> str:
    """Text without the passwords of URLs in it."""
    return _PASSWORD.sub(r"\1***@", text)


def client_for(tracking_uri: str, registry_uri: str | None = None) -> Any:
    """An MlflowClient that gives up within seconds instead of minutes, and asks nobody outside."""
    for name, value in (
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "1"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
    ):
        os.environ.setdefault(name, value)
    _quiet()
    from mlflow import MlflowClient

    with translated("tracking server", tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri or tracking_uri)


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
        code, text = error.error_code, masked(str(error.message)).splitlines()[0]
        if code in ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
            raise NotAllowed(
                f"the {what} refused: {text}",
                thing=what,
                value=masked(uri),
                remedy="check the credentials' permissions",
            ) from error
        if code == "RESOURCE_DOES_NOT_EXIST" or (missing is not None and "not found" in text.lower()):
            raise NotFound(missing or text, thing=what, value=masked(uri), remedy="check the name") from error
        if code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS"):
            raise BadInput(f"the {what} refused: {text}", thing=what, value=masked(uri)) from error
        raise _unavailable(what, uri, text) from error
    except (SQLAlchemyError, OSError) as error:
        raise _unavailable(what, uri, masked(str(error)).splitlines()[0]) from error


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
