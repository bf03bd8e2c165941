"""One suite for every scorer: scripted, and in a subprocess. Then what only a real model can do wrong."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.mlflow_files import database
from tools.adapters import scoring_worker
from tools.adapters.frames import with_nulls
from tools.adapters.memory_training import ScriptedScorer
from tools.adapters.mlflow_client import client_for
from tools.adapters.model_environments import misfit
from tools.adapters.model_files import digest_of
from tools.adapters.subprocess_scorer import SubprocessScorer, checked
from tools.contracts.training import ScoringJob, ScoringResult
from tools.ports import Scorer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"),
]
ROWS = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0], "secret_label": [7, 8, 9]})

MODEL = """
import os
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
class Model(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        {body}
set_model(Model())
"""


def saved(folder: Path, body: str, requirements: tuple[str, ...] = ("mlflow",)) -> Path:
    """A pyfunc model of one line, as MLflow saves it."""
    import mlflow.pyfunc

    folder.mkdir(parents=True)
    (folder / "model.py").write_text(MODEL.format(body=body))
    mlflow.pyfunc.save_model(folder / "model", python_model=folder / "model.py", pip_requirements=[*requirements])
    return folder / "model"


def job(folder: Path, model: str | Path, **changes: Any) -> ScoringJob:
    rows = folder / "rows.parquet"
    if not rows.exists():
        ROWS.to_parquet(rows, index=False)
    given = {
        "model_uri": str(model),
        "rows": str(rows),
        "features": ("b", "a"),
        "output": str(folder / "out" / "scored.parquet"),
        "task": "regression",
        "time_limit": timedelta(seconds=90),
        "memory_limit_mb": 3000,
    }
    return ScoringJob.model_validate(given | changes)


def real(folder: Path) -> SubprocessScorer:
    """Registry and tracking are not asked for models that are folders."""
    nobody = f"sqlite:///{folder}/nobody.db"
    if not (folder / "nobody.db").exists():
        database(folder / "nobody.db")
    return SubprocessScorer(nobody, nobody, folder / "environments", build_seconds=60)


@dataclass(frozen=True)
class Given:
    """A scorer and its models: `doubles` gives 2a, `short` too few values, `gaps` a NaN."""

    scorer: Scorer
    doubles: str
    short: str
    gaps: str
    folder: Path

    def score(self, model: str, **changes: Any) -> ScoringResult:
        return self.scorer.score(job(self.folder, model, **changes))


BODIES = {
    "doubles": "return model_input['a'] * 2",
    "short": "return np.zeros(len(model_input) - 1)",
    "gaps": "return np.where(model_input['a'] == 2, np.nan, 1.0)",
}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {name: str(saved(folder / name, body)) for name, body in BODIES.items()}


def scripted(_: dict[str, str], folder: Path) -> Given:
    functions: dict[str, Callable[[Any], Any]] = {
        "doubles": lambda frame: {"prediction": frame["a"] * 2},
        "short": lambda frame: {"prediction": np.zeros(len(frame) - 1)},
        "gaps": lambda frame: {"prediction": np.where(frame["a"] == 2, np.nan, 1.0)},
    }
    return Given(ScriptedScorer(functions), "doubles", "short", "gaps", folder)


def in_subprocess(models: dict[str, str], folder: Path) -> Given:
    return Given(real(folder), **models, folder=folder)


@pytest.fixture(params=[scripted, in_subprocess], ids=["scripted", "subprocess"])
def given(request: pytest.FixtureRequest, models: dict[str, str], tmp_path: Path) -> Given:
    return request.param(models, tmp_path)


def failed(result: ScoringResult, folder: Path) -> str:
    """The statement of a result that must be a failure, with nothing written."""
    assert (result.status, result.output) == ("failed", None)
    assert not (folder / "out" / "scored.parquet").exists()
    return result.statement


def test_predictions_are_written_in_the_order_of_the_rows(given: Given):
    result = given.score(given.doubles)
    assert result == ScoringResult(
        status="scored",
        output=str(given.folder / "out" / "scored.parquet"),
        rows=3,
        seconds=result.seconds,
        environment="ours",
        artifact_digest=given.scorer.digest(given.doubles),
        model_bytes=result.model_bytes,
        statement="3 rows scored.",
    )
    assert pd.read_parquet(result.output or "").to_dict("list") == {"prediction": [2.0, 4.0, 6.0]}
    assert [file.name for file in (given.folder / "out").iterdir()] == ["scored.parquet"]


def test_answer_of_another_length_is_a_failure_with_both_numbers(given: Given):
    said = failed(given.score(given.short), given.folder)
    assert "2" in said
    assert "for 3 rows" in said


def test_prediction_that_is_no_number_is_a_failure(given: Given):
    said = failed(given.score(given.gaps), given.folder)
    assert said == f"{given.gaps} gave 1 values in 'prediction' that are no finite number, in 3 rows."


def test_failure_tells_whether_the_model_itself_is_to_blame(given: Given):
    told = [given.score(given.gaps), given.score(str(given.folder / "gone")), given.score(given.doubles)]
    assert [(result.status, result.by_model) for result in told] == [
        ("failed", True),
        ("failed", False),
        ("scored", False),
    ]


@pytest.mark.slow
def test_rows_with_nulls_are_answered_by_a_model_that_bears_them_and_by_no_other(tmp_path: Path):
    whole, holed = tmp_path / "whole.parquet", tmp_path / "rows.parquet"
    pd.DataFrame({"a": np.arange(200.0), "b": 1.0}).to_parquet(whole, index=False)
    assert with_nulls(whole, ("a", "b"), 0.1, 1, holed) == 200
    bears = saved(tmp_path / "bears", "return model_input['a'].fillna(0) * 2")
    strict = saved(tmp_path / "strict", "assert not model_input.isna().any().any(), 'holes'; return model_input['a']")
    results = [real(tmp_path).score(job(tmp_path, model)) for model in (bears, strict)]
    assert [(result.status, result.by_model) for result in results] == [("scored", False), ("failed", True)]
    assert results[1].statement.endswith("`AssertionError: holes`")


def test_model_that_is_not_the_recorded_one_is_not_scored(given: Given):
    right = given.scorer.digest(given.doubles)
    result = given.score(given.doubles, expected_digest="0" * 64)
    assert (result.status, result.artifact_digest, result.output) == ("digest_differs", right, None)
    assert f"{given.doubles} was altered" in result.statement
    assert not (given.folder / "out").exists()


def test_model_that_cannot_be_fetched_is_a_failure_without_a_digest(given: Given):
    gone = str(given.folder / "gone")
    assert given.scorer.digest(gone) is None
    result = given.score(gone)
    assert (result.artifact_digest, result.environment) == (None, "")
    assert f"{gone} could not be fetched" in failed(result, given.folder)


# Only in a subprocess


@dataclass(frozen=True)
class Case:
    id: str
    body: str
    status: str
    says: str
    """`{model}` is the model's URI."""
    limits: dict[str, Any] = field(default_factory=dict)


HOG = "import time; kept = []\n        while True: kept.append(b'x' * 50_000_000); time.sleep(0.02)"
CASES = [
    Case(
        "raises",
        "raise ValueError('no such station: 7')",
        "failed",
        "{model} could not score (exit code 1): `ValueError: no such station: 7`",
    ),
    Case(
        "kills its process",
        "print('reading', flush=True); os.kill(os.getpid(), 9)",
        "failed",
        "{model} could not score (signal 9): `reading`",
    ),
    Case(
        "leaves without a word",
        "os._exit(0)",
        "failed",
        "{model} ended the scoring process before it could answer.",
    ),
    Case(
        "hangs",
        "import time; time.sleep(600)",
        "timed_out",
        "{model} gave no answer within 0:00:04.",
        {"time_limit": timedelta(seconds=4)},
    ),
    Case(
        "eats memory",
        HOG,
        "out_of_memory",
        "{model} took more than 900 MB and was ended.",
        {"memory_limit_mb": 900},
    ),
]
LOOKS = """import json
        seen = {'columns': list(model_input.columns), 'environment': dict(os.environ), 'cwd': os.listdir('.')}
        return [json.dumps(seen)] * len(model_input)"""


@dataclass(frozen=True)
class Ended:
    model: Path
    result: ScoringResult
    folder: Path


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ended]]]:
    """What came of each case: an interpreter each, so they run two at a time."""
    top = tmp_path_factory.mktemp("cases")

    def score(case: Case) -> Ended:
        folder = top / case.id
        result = real(folder).score(job(folder, folder / "model", **case.limits))
        return Ended(folder / "model", result, folder)

    for case in CASES:
        saved(top / case.id, case.body)
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {case.id: pool.submit(score, case) for case in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_whatever_a_model_does_is_a_result_that_says_so(case: Case, ended: dict[str, Future[Ended]]):
    found = ended[case.id].result()
    assert (found.result.status, found.result.statement) == (case.status, case.says.format(model=found.model))
    assert (found.result.output, found.result.environment) == (None, "ours")
    assert found.result.by_model == (case.id in ("raises", "leaves without a word"))
    assert found.result.artifact_digest == digest_of(found.model)
    assert not (found.folder / "out").exists()


@pytest.mark.slow
def test_model_sees_its_features_in_order_and_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    secrets = {"AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY", "DB_URL"}
    for name in (*secrets, "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:1")
    result = real(tmp_path).score(job(tmp_path, saved(tmp_path / "m", LOOKS), task="classification"))
    seen = json.loads(str(pd.read_parquet(result.output or "")["prediction"].iloc[0]))
    assert (seen["columns"], seen["cwd"]) == (["b", "a"], [])
    assert not secrets & set(seen["environment"])
    assert "secret" not in " ".join(seen["environment"].values())
    assert seen["environment"]["MLFLOW_TRACKING_URI"] == f"sqlite:///{seen['environment']['HOME']}/none.db"
    assert not Path(seen["environment"]["HOME"]).exists()


def test_altered_model_is_not_opened(tmp_path: Path):
    model = saved(tmp_path / "m", f"open({str(tmp_path / 'opened')!r}, 'w')")
    recorded = digest_of(model)
    (model / "model.py").write_text((model / "model.py").read_text() + "# one more line")
    result = real(tmp_path).score(job(tmp_path, model, expected_digest=recorded))
    assert result.status == "digest_differs"
    assert "It was not opened." in result.statement
    assert not (tmp_path / "opened").exists()


def test_digest_is_of_names_and_contents_and_of_nothing_else(models: dict[str, str], tmp_path: Path):
    copy = Path(shutil.copytree(models["doubles"], tmp_path / "copy"))
    first = digest_of(copy)
    assert real(tmp_path).digest(str(copy)) == first == digest_of(Path(models["doubles"]))
    (copy / "registered_model_meta").write_text("written by a download")
    os.utime(copy / "MLmodel", (0, 0))
    assert digest_of(copy) == first
    (copy / "model.py").rename(copy / "other.py")
    assert digest_of(copy) != first


def test_folder_without_a_model_or_with_a_link_out_of_it_is_not_opened(models: dict[str, str], tmp_path: Path):
    empty, linked = tmp_path / "empty", Path(shutil.copytree(models["doubles"], tmp_path / "linked"))
    empty.mkdir()
    (linked / "weights").symlink_to("/etc/hostname")
    said = [failed(real(tmp_path).score(job(tmp_path, model)), tmp_path) for model in (empty, linked)]
    assert "no MLmodel file" in said[0]
    assert "linked could not be fetched" in said[1]
    assert [real(tmp_path).digest(str(model)) for model in (empty, linked)] == [None, None]


@pytest.mark.slow
def test_one_model_has_one_digest_whichever_way_it_is_named(mlflow_file: str, models: dict[str, str], tmp_path: Path):
    client = client_for(mlflow_file)
    experiment = client.create_experiment("scorers", artifact_location=str(tmp_path / "artifacts"))
    run = client.create_run(experiment).info.run_id
    client.log_artifacts(run, models["doubles"], "model")
    client.create_registered_model("scored.model")
    source = client.get_run(run).info.artifact_uri + "/model"
    client.create_model_version("scored.model", source, run)
    client.set_registered_model_alias("scored.model", "champion", "1")
    logged = client.create_logged_model(experiment, name="model")
    client.log_model_artifacts(logged.model_id, models["doubles"])
    client.finalize_logged_model(logged.model_id, "READY")
    scorer = SubprocessScorer(mlflow_file, mlflow_file, tmp_path)

    names = [f"runs:/{run}/model", "models:/scored.model/1", "models:/scored.model@champion", logged.model_uri]
    assert [scorer.digest(name) for name in names] == [digest_of(Path(models["doubles"]))] * 4
    absent = [
        "models:/scored.model/2",
        "models:/scored.model@nobody",
        "models:/other/1",
        "models:/m-0",
        "runs:/0/model",
    ]
    assert [scorer.digest(name) for name in absent] == [None] * 5


# Does our environment fit?


def logged(folder: Path, requirements: str, python: str = "") -> Path:
    """A model's folder, as far as it tells of its environment."""
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "requirements.txt").write_text(requirements)
    if python:
        (folder / "python_env.yaml").write_text(f"python: {python}\ndependencies: []\n")
    return folder


@dataclass(frozen=True)
class Fit:
    id: str
    requirements: str
    reason: str | None


NUMPY, PANDAS = np.__version__, pd.__version__
NEXT = f"{NUMPY.split('.')[0]}.{int(NUMPY.split('.')[1]) + 1}.0"
FITS = [
    Fit("the same", f"numpy=={NUMPY}\npandas=={PANDAS}\n", None),
    Fit("another patch", f"numpy=={NUMPY.rsplit('.', 1)[0]}.99", None),
    Fit("another minor of stored objects", f"numpy=={NEXT}", f"it was logged with numpy {NEXT}, ours is {NUMPY}"),
    Fit("another minor of others", "pydantic==2.0.1", None),
    Fit("another major of others", "pydantic==1.10.0", "it was logged with pydantic 1.10.0, ours is "),
    Fit("not installed", "no-such-package==1.0", "it needs no-such-package==1.0, which is not installed"),
    Fit("not installed, no pin", "no-such-package", "it needs no-such-package, which is not installed"),
    Fit("any MLflow", "mlflow==1.30.0\nmlflow-skinny==9", None),
    Fit("not for this system", "no-such-package==1.0; sys_platform == 'win32'", None),
    Fit(
        "remarks and options",
        "# made by hand\n--index-url https://x.invalid\nnumpy  # any\n-r more.txt\n./wheel.whl\n",
        None,
    ),
    Fit("a range", "numpy>=1,<99", None),
    Fit("a star", f"numpy=={NUMPY.split('.')[0]}.{NUMPY.split('.')[1]}.*", None),
    Fit("nothing asked", "", None),
]


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.id)
def test_our_environment_fits_where_nothing_stored_could_read_otherwise(fit: Fit, tmp_path: Path):
    found = misfit(logged(tmp_path / "m", fit.requirements))
    assert found == fit.reason or (fit.reason is not None and found is not None and found.startswith(fit.reason))


def test_another_python_does_not_fit(tmp_path: Path):
    assert misfit(logged(tmp_path / "m", "", "3.6.9")) == "it was logged with Python 3.6, ours is 3.11"


def test_model_whose_environment_does_not_fit_is_not_opened(tmp_path: Path):
    model = saved(tmp_path / "m", f"open({str(tmp_path / 'opened')!r}, 'w')", ("no-such-package==1.0",))
    result = real(tmp_path).score(job(tmp_path, model))
    assert result == ScoringResult(
        status="environment_does_not_fit",
        artifact_digest=digest_of(model),
        statement=f"{model}: our environment does not fit: it needs no-such-package==1.0, which is not installed. "
        "Set `scoring.environment: build` in the profile.",
    )
    assert not (tmp_path / "opened").exists()


def test_environment_for_a_python_that_is_not_here_cannot_be_built(tmp_path: Path):
    model = logged(tmp_path / "m", "", "9.9.1")
    result = real(tmp_path).score(job(tmp_path, model, environment="build"))
    assert result.status == "environment_does_not_fit"
    assert "and its own could not be built: it needs Python 9.9, and there is no python9.9 on PATH" in result.statement


@pytest.mark.slow
def test_environment_that_cannot_be_installed_is_told_with_the_installers_words(tmp_path: Path):
    model = logged(tmp_path / "m", "--no-index\nno-such-package==1.0\n")
    result = real(tmp_path).score(job(tmp_path, model, environment="build"))
    assert result.status == "environment_does_not_fit"
    assert "could not be built: ERROR: No matching distribution found for" in result.statement
    assert not list((tmp_path / "environments").glob("*/.ready"))


# How an answer is read


@dataclass(frozen=True)
class Answer:
    id: str
    given: Any
    task: str
    out: dict[str, list[Any]]
    raw: Any = None


ANSWERS = [
    Answer("values", np.array([1.5, 2.5]), "regression", {"prediction": [1.5, 2.5]}),
    Answer("shares are values of a regression", np.array([0.2, 0.8]), "regression", {"prediction": [0.2, 0.8]}),
    Answer("one column", np.array([[1], [2]]), "regression", {"prediction": [1, 2]}),
    Answer("a named column", pd.DataFrame({"x": [9, 9], "prediction": [1, 2]}), "regression", {"prediction": [1, 2]}),
    Answer("labels", np.array(["rain", "dry"], dtype=object), "classification", {"prediction": ["rain", "dry"]}),
    Answer("whole floats are labels", np.array([0.0, 1.0]), "classification", {"prediction": [0.0, 1.0]}),
    Answer(
        "shares of class 1",
        np.array([0.25, 0.75]),
        "classification",
        {"prediction": [0, 1], "proba:0": [0.75, 0.25], "proba:1": [0.25, 0.75]},
    ),
    Answer(
        "shares of the second of two named classes",
        np.array([0.25, 0.75]),
        "classification",
        {"prediction": ["dry", "rain"], "proba:dry": [0.75, 0.25], "proba:rain": [0.25, 0.75]},
        (["dry", "rain"], None),
    ),
    Answer(
        "a column a class",
        pd.DataFrame({"dry": [0.9, 0.2], "rain": [0.1, 0.8]}),
        "classification",
        {"prediction": ["dry", "rain"], "proba:dry": [0.9, 0.2], "proba:rain": [0.1, 0.8]},
    ),
    Answer(
        "labels beside probabilities",
        np.array(["dry", "rain"], dtype=object),
        "classification",
        {"prediction": ["dry", "rain"], "proba:dry": [0.9, 0.2], "proba:rain": [0.1, 0.8]},
        (["dry", "rain"], np.array([[0.9, 0.1], [0.2, 0.8]])),
    ),
    Answer(
        "values between 0 and 1 of three classes are labels",
        np.array([0.5, 1.0]),
        "classification",
        {"prediction": [0.5, 1.0]},
        ([0.0, 0.5, 1.0], None),
    ),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_answer_is_read_as_predictions_and_probabilities(answer: Answer):
    out = scoring_worker.read(answer.given, answer.raw, answer.task, [])
    assert out.to_dict("list") == answer.out


@dataclass(frozen=True)
class Refusal:
    id: str
    given: Any
    task: str
    says: str
    raw: Any = None


REFUSALS = [
    Refusal("two values a row", np.zeros((2, 2)), "regression", "predict gave 2 columns a row"),
    Refusal("text in columns", np.array([["a", "b"]], dtype=object), "classification", "predict gave 2 columns a row"),
    Refusal("other classes", np.zeros((2, 3)), "classification", "3 columns for 2 classes", ([0, 1], None)),
]


@pytest.mark.parametrize("given", [1.0, [1.0, 2.0, 3.0], np.zeros((2, 2, 2)), None])
def test_answer_that_is_not_one_a_row_is_refused(given: Any):
    with pytest.raises(scoring_worker.Refused, match="for 2 rows"):
        scoring_worker.checked(given, 2)


@pytest.mark.parametrize(
    "prediction",
    [[1.0, np.inf, 1.0], [1.0, np.nan, 1.0], [-np.inf, 1.0, 1.0], ["x", None, "y"], pd.array([1, None, 3], "Int64")],
)
def test_value_that_is_no_finite_number_is_found_in_any_column(prediction: Any, tmp_path: Path):
    pd.DataFrame({"prediction": 1, "proba:1": prediction}).to_parquet(tmp_path / "part.parquet")
    found = checked(tmp_path / "part.parquet", job(tmp_path, "m"))
    assert found == (3, "gave 1 values in 'proba:1' that are no finite number, in 3 rows")


@pytest.mark.parametrize("content", [b"", b"PAR1 nonsense PAR1"])
def test_answer_file_that_the_model_made_up_is_no_answer(content: bytes, tmp_path: Path):
    (tmp_path / "part.parquet").write_bytes(content)
    rows, problem = checked(tmp_path / "part.parquet", job(tmp_path, "m"))
    assert rows == 0
    assert "left an answer that cannot be read" in (problem or "")


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_answer_that_cannot_be_read_is_refused(refusal: Refusal):
    with pytest.raises(scoring_worker.Refused, match=refusal.says):
        scoring_worker.read(refusal.given, refusal.raw, refusal.task, [])


def test_assumption_about_an_answer_is_noted():
    notes: list[str] = []
    scoring_worker.read(np.array([0.25, 0.75]), None, "classification", notes)
    assert notes == ["the values of predict were read as probabilities of class 1"]


TYPED = [
    ("double", [1, 2], "float64"),
    ("long", [1.0, 2.0], "int64"),
    ("long", [1.5, 2.0], "float64"),
    ("long", [1.0, None], "float64"),
    ("float", [0.1, 0.2], "float32"),
    ("integer", [1, 2**40], "int64"),
    ("boolean", [1, 0], "bool"),
    ("boolean", [2, 0], "int64"),
    ("double", ["1", "2"], "str"),
    ("double", [True, False], "float64"),
]


@pytest.mark.parametrize(("kind", "values", "becomes"), TYPED)
def test_column_gets_the_signatures_type_only_where_no_value_changes(kind: str, values: list[Any], becomes: str):
    column = pd.Series(values)
    typed = scoring_worker.as_typed(column, kind)
    assert str(typed.dtype) == becomes
    if kind != "float":  # the model was trained in that precision
        pd.testing.assert_series_equal(typed.astype(column.dtype), column)


def test_rows_are_scored_in_batches_and_an_empty_set_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scoring_worker, "BATCH", 2)
    sizes = [[len(part) for part in scoring_worker.batches(frame, None)] for frame in (ROWS, ROWS.head(0))]
    assert sizes == [[2, 1], [0]]
