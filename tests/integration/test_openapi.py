"""The OpenAPI description against the server behind it: whatever a caller makes of it, no answer is a crash or a surprise."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from agent.entrypoints.server.app import application
from agent.entrypoints.server.limits import Limits
from tests.graph.doors import app_of
from tests.graph.world import make_world
from tests.integration.test_http_real import Caller, served

EXAMPLES = 8
MOST_LOOKS = 3
"""At a champion that exists: each takes a second."""
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
LAX = Limits(calls_a_minute=10**6, calls_of_address=10**6)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    world = make_world(tmp_path_factory.mktemp("world"), mode="recommend")
    with served(world, limits=LAX) as caller:
        yield caller


@pytest.fixture(scope="module")
def known(caller: Caller) -> dict[str, Any]:
    """What exists, so that more than the doors' 404 is met: a run that waits for its review."""
    _, run = caller.ask("POST", "/v1/runs?wait=60", {"modelId": "prices", "retrainingConfig": {"trigger": "manual"}})
    return {"runId": run["runId"], "reviewId": run["output"]["deploymentDecision"]["reviewId"], "modelId": "prices"}


# The server answers in a thread of this process: what it draws from `random` meanwhile is no strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
def test_no_generated_request_crashes_the_server_or_is_answered_against_the_description(
    caller: Caller, known: dict[str, Any]
) -> None:
    base = f"http://127.0.0.1:{caller.port}"
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    operations: Any = [cast("Any", each).ok() for each in schema.get_all_operations()]
    called: Counter[str] = Counter()

    with requests.Session() as session:
        for operation, mode in itertools.product(operations, GenerationMode):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=cast("Any", list(HealthCheck)),
            )
            @given(case=operation.as_strategy(mode), real=st.booleans())
            def call(case: Any, real: bool) -> None:
                if real and ("checks" not in case.operation.path or called[case.operation.label] < MOST_LOOKS):
                    _make_real(case, known)
                if isinstance(case.query, dict):
                    case.query.pop("wait", None)
                headers = {"Authorization": f"Bearer {caller.token}"}
                case.call_and_validate(session=session, headers=headers, checks=CHECKS, timeout=60)
                called[case.operation.label] += 1

            call()

    assert len(called) == len(operations) == 13
    assert caller.ask("GET", "/healthz") == (200, {"status": "ok"})


def _make_real(case: Any, known: dict[str, Any]) -> None:
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: value for name, value in known.items() if name in part})


def test_description_names_every_endpoint_its_scope_and_never_a_null(tmp_path: Path) -> None:
    with TestClient(application(app_of(make_world(tmp_path))).app, base_url="http://localhost") as client:
        described = client.get("/openapi.json").json()
    operations = {
        f"{method.upper()} {path}": each for path, item in described["paths"].items() for method, each in item.items()
    }

    assert sorted(operations) == [
        "GET /v1/history",
        "GET /v1/reviews",
        "GET /v1/reviews/{reviewId}",
        "GET /v1/runs",
        "GET /v1/runs/{runId}",
        "GET /v1/runs/{runId}/events",
        "GET /v1/runs/{runId}/report",
        "POST /v1/chat",
        "POST /v1/checks",
        "POST /v1/judgements",
        "POST /v1/reviews/{reviewId}/answer",
        "POST /v1/rollbacks",
        "POST /v1/runs",
    ]
    assert all("Scope `" in each["description"] for each in operations.values())
    assert "'null'" not in str(described["components"]["schemas"])
