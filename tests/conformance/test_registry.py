"""One suite for every registry: memory, MLflow on a file, and (a part of it) a real MLflow server. Then what only MLflow
or only memory does."""

import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conformance.conftest import answering, closed_port
from tools.adapters.memory_registry import AliasMove, MemoryRegistry, unreachable
from tools.adapters.mlflow_client import artifact_location, client_for
from tools.adapters.mlflow_registry import MlflowRegistry
from tools.contracts.training import ColumnSpec, ModelSignature, ModelVersion
from tools.errors import BadInput, NotAllowed, NotFound, RetrainingError, Unavailable
from tools.masking import masked
from tools.ports import Registry

COLUMNS = ModelSignature(
    inputs=(ColumnSpec(name="a", type="double"), ColumnSpec(name="b c", type="string", required=False)),
    outputs=(ColumnSpec(name="y", type="long"),),
)
ODD = "it's \"odd\" `ü` 100%_ \\ ; -- ' OR name != '"
ODD_NAMES = (
    "catalog.schema.model",
    "with space",
    "m-prices",
    "a@b",
    "100%_\\",
    "日本 – ü",
    "five o'clock",
    "' OR name != '",
    'it\'s "both" `kinds`',
)


@dataclass
class Rig:
    """A registry, models to register, and a way to put a version in a stage."""

    registry: Registry
    signed: str
    """URI of a logged model with the signature `COLUMNS`."""
    unsigned: str
    run: str
    """The run that logged them."""
    put: Callable[[str, str, str], None]

    def register(self, name: str, **tags: str) -> ModelVersion:
        return self.registry.register(name, self.signed, self.run, tags)


def in_memory() -> Rig:
    registry = MemoryRegistry()
    registry.signatures = {"models:/m-signed": COLUMNS, "models:/m-unsigned": None}

    def put(name: str, version: str, stage: str) -> None:
        registry.add(name, version, stage=stage)

    return Rig(registry, "models:/m-signed", "models:/m-unsigned", "run-1", put)


def in_mlflow(uri: str, folder: Path) -> Rig:
    """Models of metadata alone: whoever loads one fails."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature as MlflowSignature
    from mlflow.types import ColSpec, Schema

    client = client_for(uri)
    experiment = client.create_experiment(f"models {uuid4()}", artifact_location=artifact_location(uri, "models"))
    run = client.create_run(experiment).info.run_id
    inputs = Schema([ColSpec("double", "a"), ColSpec("string", "b c", required=False)])
    signature = MlflowSignature(inputs=inputs, outputs=Schema([ColSpec("long", "y")]))

    def logged(name: str, signature: Any) -> str:
        (folder / name).mkdir()
        flavor = {"loader_module": "no.such.module", "data": "model.pkl"}
        Model(signature=signature, flavors={"python_function": flavor}).save(str(folder / name / "MLmodel"))
        return log(client, experiment, run, name, folder / name)

    def put(name: str, version: str, stage: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            client.transition_model_version_stage(name, version, stage)

    return Rig(MlflowRegistry(uri, uri), logged("signed", signature), logged("unsigned", None), run, put)


def log(client: Any, experiment: str, run: str | None, name: str, folder: Path) -> str:
    """URI of a logged model with the files in `folder`."""
    model = client.create_logged_model(experiment, name=name, source_run_id=run)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    return f"models:/{model.model_id}"


@pytest.fixture(scope="session")
def file_rig(mlflow_file: str, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return in_mlflow(mlflow_file, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def server_rig(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return in_mlflow(mlflow_server, tmp_path_factory.mktemp("models"))


@pytest.fixture(params=["memory", "file"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return in_memory() if request.param == "memory" else request.getfixturevalue(f"{request.param}_rig")


everywhere = pytest.mark.parametrize(
    "rig", ["memory", "file", pytest.param("server", marks=pytest.mark.slow)], indirect=True
)
"""The server's part."""


@pytest.fixture
def name() -> str:
    """MLflow's registries live as long as the session: each test has a model of its own."""
    return f"catalog.schema.model-{uuid4().hex}"


def numbers(versions: Any) -> list[str]:
    return [version.version for version in versions]


# --- the suite -------------------------------------------------------------------------------------------------


@everywhere
def test_register_makes_the_model_and_then_a_second_version(rig: Rig, name: str):
    before = datetime.now(UTC) - timedelta(seconds=1)
    first, second = rig.register(name, k="one"), rig.register(name, k="two")
    assert first.created_at is not None
    assert second.created_at is not None
    assert before <= first.created_at <= second.created_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert [first, second] == [
        ModelVersion(
            name=name,
            version=number,
            model_uri=f"models:/{name}/{number}",
            source_run_id=rig.run,
            created_at=at,
            tags={"k": word},
        )
        for number, at, word in (("1", first.created_at, "one"), ("2", second.created_at, "two"))
    ]
    assert rig.registry.list_versions(name) == [second, first]
    assert [rig.registry.get_version(name, "1"), rig.registry.get_version(name, "2")] == [first, second]


@pytest.mark.parametrize("odd", ODD_NAMES)
def test_names_are_opaque(rig: Rig, odd: str):
    own = f"{odd}{uuid4().hex}{odd}"
    rig.register(own, k="v")
    rig.registry.set_alias(own, "champion", "1")
    version = rig.registry.get_version(own, "1")
    assert (version.name, version.model_uri, version.aliases) == (own, f"models:/{own}/1", ("champion",))
    assert rig.registry.by_alias(own, "champion") == version
    assert rig.registry.list_versions(own) == [version]
    assert rig.registry.find_by_tag(own, "k", "v") == [version]
    assert own in rig.registry.list_models()
    assert rig.registry.signature(version.model_uri) == COLUMNS
    assert rig.registry.signature(f"models:/{own}@champion") == COLUMNS


@everywhere
def test_quote_in_a_name_hides_no_version(rig: Rig, name: str):
    rig.register(f"it's {name}", k="v")
    assert numbers(rig.registry.find_by_tag(f"it's {name}", "k", "v")) == ["1"]


def test_names_that_look_like_patterns_of_each_other_are_kept_apart(rig: Rig, name: str):
    for other in (f"{name}a_b", f"{name}aXb", f"{name}A_B", f"{name}a%", name):
        rig.register(other)
    assert [version.name for version in rig.registry.list_versions(f"{name}a_b")] == [f"{name}a_b"]
    assert [version.name for version in rig.registry.list_versions(f"{name}a%")] == [f"{name}a%"]


@pytest.mark.parametrize("refused", ["", "a/b", "a:b"])
def test_name_that_cannot_stand_in_a_model_uri_is_refused(rig: Rig, refused: str):
    with pytest.raises(BadInput, match="registry refused"):
        rig.register(refused)


@everywhere
def test_unknown_model_or_version_is_not_found(rig: Rig, name: str):
    rig.register(name)
    for unknown in (name, f"{name}-other"):
        for use in (
            lambda unknown: rig.registry.get_version(unknown, "9"),
            lambda unknown: rig.registry.set_alias(unknown, "champion", "9"),
            lambda unknown: rig.registry.set_tags(unknown, "9", {"k": "v"}),
        ):
            with pytest.raises(NotFound, match=f"no version 9 of model '{unknown}' in the registry"):
                use(unknown)
    with pytest.raises(NotFound, match="no registered model") as caught:
        rig.registry.list_versions(f"{name}-other")
    assert f"did you mean {name}" in str(caught.value.remedy)
    assert (rig.registry.by_alias(name, "champion"), rig.registry.get_version(name, "1").tags) == (None, {})


@pytest.mark.parametrize("version", ["", "x", "-1", "1.0", " 1", "²", "٣", "9" * 20])
def test_version_that_is_no_whole_number_is_refused(rig: Rig, name: str, version: str):
    rig.register(name)
    for use in (
        lambda: rig.registry.get_version(name, version),
        lambda: rig.registry.set_alias(name, "champion", version),
        lambda: rig.registry.set_tags(name, version, {"k": "v"}),
    ):
        with pytest.raises(BadInput, match="versions are whole numbers"):
            use()


@everywhere
def test_missing_alias_is_none(rig: Rig, name: str):
    rig.register(name)
    assert rig.registry.by_alias(name, "champion") is None
    assert rig.registry.by_alias(f"{name}-other", "champion") is None


@everywhere
def test_alias_moves_and_leaves_the_others_alone(rig: Rig, name: str):
    for _ in range(2):
        rig.register(name)
    rig.registry.set_alias(name, "last-known-good", "1")
    rig.registry.set_alias(name, "champion", "1")
    rig.registry.set_alias(name, "champion", "2")
    assert [version.aliases for version in rig.registry.list_versions(name)] == [("champion",), ("last-known-good",)]
    assert rig.registry.by_alias(name, "champion") == rig.registry.get_version(name, "2")
    assert rig.registry.by_alias(name, "last-known-good") == rig.registry.get_version(name, "1")


def test_aliases_of_a_version_are_sorted_however_it_is_found(rig: Rig, name: str):
    rig.register(name)
    for alias in ("b", "a", "c"):
        rig.registry.set_alias(name, alias, "1")
    found = (rig.registry.get_version(name, "1"), rig.registry.by_alias(name, "b"), *rig.registry.list_versions(name))
    assert [version and version.aliases for version in found] == [("a", "b", "c")] * 3


@pytest.mark.parametrize("alias", ["", "latest", "v1", "V2", "a b", "a/b", "it's"])
def test_alias_that_mlflow_would_read_otherwise_is_refused(rig: Rig, name: str, alias: str):
    rig.register(name)
    with pytest.raises(BadInput, match="registry refused"):
        rig.registry.set_alias(name, alias, "1")
    assert rig.registry.get_version(name, "1").aliases == ()


def test_alias_latest_is_the_newest_version(rig: Rig, name: str):
    for _ in range(2):
        rig.register(name)
    assert rig.registry.by_alias(name, "latest") == rig.registry.get_version(name, "2")


@everywhere
def test_find_by_tag_is_newest_first_and_empty_where_there_is_none(rig: Rig, name: str):
    for value in ("x", "y", "x"):
        rig.register(name, k=value)
    assert numbers(rig.registry.find_by_tag(name, "k", "x")) == ["3", "1"]
    assert rig.registry.find_by_tag(name, "k", "z") == []
    assert rig.registry.find_by_tag(name, "other", "x") == []
    assert rig.registry.find_by_tag(f"{name}-other", "k", "x") == []


@everywhere
def test_tags_with_odd_characters_round_trip_and_are_found(rig: Rig, name: str):
    odd = {"quotes": ODD, "lines": "a\nb\tc", "empty": "", "a.b/c:d-e f": "日本 😀", "long": "x" * 9_000}
    rig.register(name, other="1")
    rig.registry.set_tags(name, "1", odd)
    assert rig.registry.get_version(name, "1").tags == odd | {"other": "1"}
    assert [numbers(rig.registry.find_by_tag(name, key, value)) for key, value in odd.items()] == [["1"]] * len(odd)


@pytest.mark.parametrize("key", ["", "..", "it's", 'a"b', "a`b", "a%b"])
def test_key_of_a_tag_that_mlflow_cannot_keep_is_refused(rig: Rig, name: str, key: str):
    rig.register(name)
    with pytest.raises(BadInput, match="registry refused"):
        rig.registry.set_tags(name, "1", {key: "v"})


def test_tags_are_overwritten_one_by_one(rig: Rig, name: str):
    rig.register(name, a="1", b="1")
    rig.registry.set_tags(name, "1", {"b": "2", "c": "2"})
    assert rig.registry.get_version(name, "1").tags == {"a": "1", "b": "2", "c": "2"}


def test_by_stage_is_the_newest_version_in_the_stage(rig: Rig, name: str):
    for number in ("1", "2", "3"):
        rig.register(name)
        rig.put(name, number, "Archived" if number == "3" else "Production")
    assert rig.registry.by_stage(name, "Production") == rig.registry.get_version(name, "2")
    assert rig.registry.by_stage(name, "production") == rig.registry.get_version(name, "2")
    assert rig.registry.by_stage(name, "Staging") is None
    assert rig.registry.by_stage(f"{name}-other", "Production") is None


def test_stage_that_does_not_exist_is_refused(rig: Rig, name: str):
    rig.register(name)
    with pytest.raises(BadInput, match="registry refused"):
        rig.registry.by_stage(name, "Prod")


@everywhere
def test_models_are_listed_in_order(rig: Rig, name: str):
    mine = [f"{letter}-{name}" for letter in "cab"]
    for own in mine:
        rig.register(own)
    listed = list(rig.registry.list_models())
    assert listed == sorted(listed)
    assert [own for own in listed if own in mine] == sorted(mine)


@pytest.mark.slow
def test_all_versions_are_listed_however_many(rig: Rig, name: str):
    for _ in range(101):
        rig.register(name)
    assert numbers(rig.registry.list_versions(name)) == [str(number) for number in range(101, 0, -1)]


@everywhere
def test_signature_is_read_of_logged_and_registered_models(rig: Rig, name: str):
    rig.register(name)
    rig.registry.register(name, rig.unsigned, None, {})
    rig.registry.set_alias(name, "champion", "1")
    signed = (rig.signed, f"models:/{name}/1", f"models:/{name}@champion")
    assert [rig.registry.signature(uri) for uri in signed] == [COLUMNS] * 3
    assert [rig.registry.signature(uri) for uri in (rig.unsigned, f"models:/{name}/2")] == [None, None]


@everywhere
def test_signature_of_an_unknown_model_is_not_found(rig: Rig, name: str):
    rig.register(name)
    for uri in (f"models:/{name}/9", f"models:/{name}-other/1", f"models:/m-{'0' * 32}", f"runs:/{'0' * 32}/model"):
        with pytest.raises(NotFound, match=f"no model at {uri}"):
            rig.registry.signature(uri)


# --- MLflow ----------------------------------------------------------------------------------------------------

in_mlflow_only = pytest.mark.parametrize("rig", ["file", pytest.param("server", marks=pytest.mark.slow)], indirect=True)


@in_mlflow_only
def test_whether_one_may_write_is_not_known_beforehand(rig: Rig):
    assert rig.registry.can_write() is None


@in_mlflow_only
def test_register_of_a_model_that_does_not_exist_leaves_no_empty_model(rig: Rig, name: str):
    for uri in (f"models:/m-{'0' * 32}", f"runs:/{'0' * 32}/model"):
        with pytest.raises(NotFound):
            rig.registry.register(name, uri, None, {})
    assert name not in rig.registry.list_models()


@in_mlflow_only
def test_registered_without_a_run_has_the_run_that_logged_it(rig: Rig, name: str):
    assert rig.registry.register(name, rig.signed, None, {}).source_run_id == rig.run


@in_mlflow_only
def test_model_in_the_layout_of_mlflow_2_is_registered_and_read(rig: Rig, name: str, tmp_path: Path):
    client = client_for(rig.registry._uri)  # pyright: ignore[reportAttributeAccessIssue]
    (tmp_path / "MLmodel").write_text('signature: {inputs: \'[{"name": "a", "type": "double"}]\', outputs: null}\n')
    client.log_artifact(rig.run, str(tmp_path / "MLmodel"), "model")
    version = rig.registry.register(name, f"runs:/{rig.run}/model", rig.run, {})
    assert rig.registry.signature(version.model_uri) == ModelSignature(inputs=(ColumnSpec(name="a", type="double"),))


@in_mlflow_only
def test_version_made_from_a_version_has_its_signature(rig: Rig, name: str):
    copy = rig.registry.register(f"{name}-copy", rig.register(name).model_uri, rig.run, {})
    assert rig.registry.signature(copy.model_uri) == COLUMNS


TENSOR = '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"signature:\n  inputs: '{TENSOR}'\n", ModelSignature()),
        ("flavors: {}\n", None),
        ("", BadInput),
        ("- a list\n", BadInput),
        ("signature: {inputs: 'no json'}\n", BadInput),
        ("signature: {inputs: '[7]'}\n", BadInput),
        ("signature: [", BadInput),
        (None, NotFound),
    ],
    ids=["tensors", "none", "empty", "list", "no JSON", "no columns", "no YAML", "no file"],
)
def test_signature_of_an_odd_mlmodel_file_is_empty_or_refused(
    file_rig: Rig, mlflow_file: str, tmp_path: Path, text: str | None, expected: Any
):
    (tmp_path / ("other" if text is None else "MLmodel")).write_text(text or "")
    client = client_for(mlflow_file)
    uri = log(client, client.get_run(file_rig.run).info.experiment_id, file_rig.run, "odd", tmp_path)
    if expected in (BadInput, NotFound):
        with pytest.raises(expected, match=f"{'no ' if text is None else 'the '}MLmodel file at {uri}"):
            file_rig.registry.signature(uri)
    else:
        assert file_rig.registry.signature(uri) == expected


@pytest.mark.parametrize("uri", ["models:/prices", "models:/", "models:/@champion"])
def test_uri_that_names_no_model_is_refused(file_rig: Rig, uri: str):
    with pytest.raises(BadInput, match="names no model"):
        file_rig.registry.signature(uri)


@pytest.mark.parametrize(
    ("uri", "kind", "says"),
    [
        ("nonsense://user:s3cret@host/x", BadInput, r"'nonsense://user:\*\*\*@host/x' is no address of a registry"),
        ("http://[broken", BadInput, "is no address of a registry"),
        ("sqlite:///{folder}/text.db", BadInput, "cannot be read: file is not a database"),
        ("sqlite:///{folder}/text.db/mlflow.db", Unavailable, "did not answer"),
        ("sqlite:///{folder}", Unavailable, "did not answer"),
        ("mysql+nodriver://user:s3cret@host/x", BadInput, "is no address of a registry"),
        ("mssql+pymssql://user:s3cret@host/x", BadInput, "needs the Python package pymssql, which is not installed"),
    ],
)
def test_bad_address_of_a_registry_is_named_with_a_remedy(
    mlflow_file: str, tmp_path: Path, uri: str, kind: type[RetrainingError], says: str
):
    (tmp_path / "text.db").write_text("this is no database\n" * 100)
    with pytest.raises(kind, match=says) as caught:
        MlflowRegistry(uri.format(folder=tmp_path), mlflow_file).list_models()
    assert caught.value.remedy
    assert "s3cret" not in f"{caught.value} {caught.value.value}"


def test_registry_that_is_down_is_unavailable_and_named_without_its_password(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = closed_port()
    down = MlflowRegistry(uri := f"http://user:s3cret@127.0.0.1:{port}", uri)
    for call in (
        down.list_models,
        lambda: down.get_version("m", "1"),
        lambda: down.by_alias("m", "champion"),
        lambda: down.find_by_tag("m", "k", "v"),
        lambda: down.by_stage("m", "Production"),
        lambda: down.list_versions("m"),
        lambda: down.register("m", "models:/m-1", None, {}),
        lambda: down.set_alias("m", "champion", "1"),
        lambda: down.set_tags("m", "1", {"k": "v"}),
        lambda: down.signature("models:/m/1"),
    ):
        with pytest.raises(Unavailable, match=rf"registry at http://user:\*\*\*@127.0.0.1:{port} did not") as caught:
            call()
        assert "check that it runs" in str(caught.value.remedy)
        assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_registry_that_is_down_is_given_up_within_seconds():
    start = time.monotonic()
    with pytest.raises(Unavailable):
        MlflowRegistry(uri := f"http://127.0.0.1:{closed_port()}", uri).list_models()
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, "<html>nothing here</html>", Unavailable),
        (200, "<html>welcome</html>", Unavailable),
        (400, '{"error_code": "INTERNAL_ERROR", "message": ""}', Unavailable),
        (401, "who are you?", NotAllowed),
        (403, "not you", NotAllowed),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "not you"}', NotAllowed),
    ],
)
def test_server_that_is_no_mlflow_or_refuses_is_never_read_as_no_champion(
    status: int, body: str, kind: type[RetrainingError]
):
    with answering(status, body) as address:
        registry = MlflowRegistry(address, address)
        for call in (lambda: registry.by_alias("m", "champion"), lambda: registry.find_by_tag("m", "k", "v")):
            with pytest.raises(RetrainingError) as caught:
                call()
            assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:s3cret@host/x", "http://user:***@host/x"),
        ("http://:s3cret@host/x", "http://:***@host/x"),
        ("http://user:@host/x", "http://user:***@host/x"),
        ("https://t0ken@host/x", "https://***@host/x"),
        ("http://user:s3@cret@host/x", "http://user:***@host/x"),
        ("postgresql://user:s3/c?r#et@host/db", "postgresql://user:***@host/db"),
        (
            "postgresql://user@host/db?sslmode=x&password=s3cret&a=b",
            "postgresql://user@host/db?sslmode=x&password=***&a=b",
        ),
        ("first http://u:s3cret@a/x, then http://v:s3cret@b/y", "first http://u:***@a/x, then http://v:***@b/y"),
        ("http://host:5000/models", "http://host:5000/models"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("models:/prices@champion", "models:/prices@champion"),
        ("postgresql://user:s3 cr\net@host/db", "postgresql://user:***@host/db"),
        ("host=db password=s3cret user=u", "host=db password=*** user=u"),
        ("password = 's3 cret'", "password = ***"),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_passwords_and_tokens_are_masked_and_nothing_else(text: str, shown: str):
    assert masked(text) == shown


# --- memory ----------------------------------------------------------------------------------------------------


def test_memory_counts_registrations_and_moves_but_not_what_was_seeded():
    registry = MemoryRegistry()
    registry.add("prices", "6", aliases=["champion"])
    made = registry.register("prices", "models:/m-1", "run-1", {"k": "v"})
    registry.set_alias("prices", "champion", made.version)
    registry.set_alias("prices", "last-known-good", "6")
    assert registry.registrations == [made]
    assert registry.alias_moves == [
        AliasMove("prices", "champion", "6", "7"),
        AliasMove("prices", "last-known-good", None, "6"),
    ]


def test_memory_is_seeded_with_whole_versions():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    registry = MemoryRegistry(clock=lambda: at, writable=False)
    registry.failure = unreachable("registry")
    registry.add_model("empty")
    registry.add("prices")
    six = registry.add(
        "prices",
        "6",
        tags={"k": "v"},
        aliases=["champion"],
        stage="Production",
        signature=COLUMNS,
        source_run_id="run-1",
        created_at=at + timedelta(days=1),
    )
    registry.failure = None
    assert six == ModelVersion(
        name="prices",
        version="6",
        model_uri="models:/prices/6",
        source_run_id="run-1",
        created_at=at + timedelta(days=1),
        aliases=("champion",),
        tags={"k": "v"},
    )
    assert registry.list_models() == ["empty", "prices"]
    assert registry.list_versions("empty") == []
    assert registry.list_versions("prices") == [
        six,
        ModelVersion(name="prices", version="1", model_uri="models:/prices/1", created_at=at),
    ]
    assert registry.by_stage("prices", "Production") == six
    assert [registry.signature(f"models:/prices/{number}") for number in (6, 1)] == [COLUMNS, None]


def test_memory_that_is_read_only_says_so_and_refuses_to_write():
    registry = MemoryRegistry()
    before = registry.add("prices", "6")
    assert registry.can_write() is True
    registry.writable = False
    assert registry.can_write() is False
    for write in (
        lambda: registry.register("prices", "models:/m-1", None, {}),
        lambda: registry.set_alias("prices", "champion", "6"),
        lambda: registry.set_tags("prices", "6", {"k": "v"}),
    ):
        with pytest.raises(NotAllowed, match="registry refused"):
            write()
    assert registry.list_versions("prices") == [before]
    assert (registry.registrations, registry.alias_moves) == ([], [])


def test_memory_that_is_unreachable_fails_every_call_until_it_is_back():
    registry = MemoryRegistry()
    version = registry.add("prices", "6", aliases=["champion"])
    registry.failure = unreachable("registry")
    for call in (
        registry.list_models,
        registry.can_write,
        lambda: registry.get_version("prices", "6"),
        lambda: registry.by_alias("prices", "champion"),
        lambda: registry.find_by_tag("prices", "k", "v"),
        lambda: registry.by_stage("prices", "Production"),
        lambda: registry.list_versions("prices"),
        lambda: registry.register("prices", "models:/m-1", None, {}),
        lambda: registry.set_alias("prices", "champion", "6"),
        lambda: registry.set_tags("prices", "6", {"k": "v"}),
        lambda: registry.signature("models:/prices/6"),
    ):
        with pytest.raises(Unavailable, match="registry in memory did not answer"):
            call()
    registry.failure = None
    assert registry.by_alias("prices", "champion") == version


def test_memory_gives_copies():
    registry = MemoryRegistry()
    registry.add("prices", "6", tags={"k": "v"}).tags["k"] = "changed"
    registry.get_version("prices", "6").tags["k"] = "changed"
    assert registry.get_version("prices", "6").tags == {"k": "v"}


def test_memory_needs_no_mlflow():
    code = "import sys, tools.adapters.memory_registry; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
