"""Is the workspace found, and are its faults named with line and remedy?"""

import re
from pathlib import Path

import pytest

from agent.workspace import find_workspace
from tools.contracts.language import LanguageSpec
from tools.errors import BadInput, NotFound


def _write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "retraining.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_relative_places_start_at_the_files_folder(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: sqlite:///mlflow.db\nregistry_uri: ./models\nprofiles_dir: conf\nllm_model: 7\n")

    found = find_workspace(tmp_path)

    root = tmp_path.resolve()
    assert found.model_dump() == {
        "root": root,
        "tracking_uri": f"sqlite:///{root}/mlflow.db",
        "registry_uri": str(root / "models"),
        "store": f"sqlite:///{root}/.retraining/store.db",
        "profiles_dir": root / "conf",
        "work_dir": root / ".retraining",
        "llm_model": "7",
        "llm": LanguageSpec().model_dump(),
        "peers": {},
    }
    assert found.file == root / "retraining.yaml"


@pytest.mark.parametrize(
    "uri",
    [
        "https://mlflow.example:5000",
        "databricks",
        "databricks-uc://team",
        "sqlite:////srv/mlflow.db",
        "postgresql+psycopg://h/db",
        "file:///srv/mlruns",
    ],
)
def test_servers_keywords_and_absolute_places_stay_as_they_are(tmp_path: Path, uri: str) -> None:
    _write(tmp_path, f"tracking_uri: {uri}\n")

    found = find_workspace(tmp_path)

    assert (found.tracking_uri, found.registry_uri) == (uri, uri)


def test_the_nearest_workspace_above_is_found(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: a\n")
    _write(tmp_path / "inner", "tracking_uri: b\n")
    deep = tmp_path / "inner" / "src" / "models"
    deep.mkdir(parents=True)

    assert find_workspace(deep).root == (tmp_path / "inner").resolve()


def test_an_explicit_folder_or_file_beats_the_search(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: a\n")
    other = _write(tmp_path / "other", "tracking_uri: b\n")

    assert find_workspace(tmp_path, other).root == find_workspace(tmp_path, other.parent).root == other.parent.resolve()


def test_no_workspace_anywhere_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        find_workspace(tmp_path)

    assert raised.value.value == str(tmp_path.resolve())
    assert "retrain init" in str(raised.value.remedy)


def test_an_explicit_workspace_that_is_not_there_ends_the_search(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: a\n")

    with pytest.raises(NotFound, match="no workspace at"):
        find_workspace(tmp_path, tmp_path / "elsewhere")


def test_all_faults_are_named_at_once_with_line_value_and_remedy(tmp_path: Path) -> None:
    file = _write(tmp_path, "traking_uri: x\nstore: store.db\n")

    with pytest.raises(BadInput) as raised:
        find_workspace(tmp_path)

    where = file.resolve()
    assert str(raised.value).splitlines()[1:4] == [
        f"  {where}:1: traking_uri = 'x': is no field of a workspace (did you mean tracking_uri?)",
        f"  {where}:1: tracking_uri: is missing "
        "(add e.g. `tracking_uri: sqlite:///mlflow.db` or your MLflow server's address)",
        "  remedy: mend retraining.yaml where named, then try again",
    ]


def test_a_store_that_is_no_url_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: x\nstore: store.db\n")

    with pytest.raises(BadInput, match=r":2: store = 'store.db': is not a SQLAlchemy URL"):
        find_workspace(tmp_path)


def test_a_password_comes_from_the_environment_and_stays_out_of_sight(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: x\nstore: postgresql+psycopg://me:${PGPASSWORD}@db/runs\n")

    found = find_workspace(tmp_path, environment={"PGPASSWORD": "s3cret"})

    assert found.store == "postgresql+psycopg://me:s3cret@db/runs"
    assert "s3cret" not in repr(found)


def test_a_missing_environment_variable_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: https://u:${MLFLOW_PW}@host\n")

    with pytest.raises(BadInput, match="environment variable MLFLOW_PW is not set"):
        find_workspace(tmp_path, environment={})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tracking_uri: [a\n", "not readable as YAML"),
        ("- a\n", "is not a mapping"),
        ("tracking_uri: a\ntracking_uri: b\n", ":2: tracking_uri: stands twice, first on line 1"),
        ("a: &a [*a]\n", "nested too deeply"),
    ],
)
def test_yaml_at_fault_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    _write(tmp_path, text)

    with pytest.raises(BadInput) as raised:
        find_workspace(tmp_path)

    assert says in str(raised.value)


# --- peers

PEERS = "tracking_uri: x\npeers:\n  drift-detective:\n    url: {url}\n    token: {token}\n"


def test_a_peers_token_comes_from_the_environment_and_stands_in_no_text(tmp_path: Path) -> None:
    _write(tmp_path, PEERS.format(url="https://drift.example", token="${TOKEN}"))

    found = find_workspace(tmp_path, environment={"TOKEN": "very secret"})

    assert found.peers["drift-detective"].token == "very secret"
    assert "very secret" not in f"{found} {found!r} {found.peers}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://drift.example", "http://HOST:PORT"),
        ("drift.example", "http://HOST:PORT"),
        ("http://drift.example", "over https only"),
        ("https://user:word@drift.example", "neither a password nor a query"),
        ("https://drift.example/?a=b", "neither a password nor a query"),
    ],
)
def test_an_address_that_is_none_or_unsafe_is_refused_without_its_token(tmp_path: Path, url: str, said: str) -> None:
    _write(tmp_path, PEERS.format(url=url, token="very-secret"))

    with pytest.raises(BadInput, match=r"peers\.drift-detective") as raised:
        find_workspace(tmp_path)

    assert said in str(raised.value)
    assert "very-secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8600", "http://localhost:8600", "https://drift.example:8443/a"])
def test_an_address_that_is_safe_with_a_token_is_taken(tmp_path: Path, url: str) -> None:
    _write(tmp_path, PEERS.format(url=url, token="secret"))

    assert find_workspace(tmp_path).peers["drift-detective"].url == url


def test_a_peer_that_nobody_knows_and_a_token_that_is_not_set_are_named(tmp_path: Path) -> None:
    _write(tmp_path, "tracking_uri: x\npeers:\n  drift: {url: 'https://x'}\n")
    with pytest.raises(BadInput, match=r"retraining.yaml:3: peers\.drift"):
        find_workspace(tmp_path)

    _write(tmp_path, PEERS.format(url="https://x", token="${NOBODY_SET_IT}"))
    with pytest.raises(BadInput, match="NOBODY_SET_IT is not set"):
        find_workspace(tmp_path)


def test_limits_and_prices_of_the_language_model_stand_in_the_workspace(tmp_path: Path) -> None:
    text = "tracking_uri: databricks\nllm_model: qwen\nllm:\n  base_url: http://127.0.0.1:8080/v1\n"
    _write(tmp_path, text + "  prices: {input: 0.5, output: 2}\n  max_cost_per_run: 0.1\n")

    found = find_workspace(tmp_path).llm

    assert (found.base_url, found.max_cost_per_run) == ("http://127.0.0.1:8080/v1", 0.1)
    assert found.prices is not None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("max_cost_per_run: 1", "cannot be kept without `prices`"),
        ("base_url: localhost:8080", "http://HOST:PORT/v1"),
        ("base_url: http://me:secret@host/v1", "neither a password nor a query"),
        ("timeout: 5", "timeout"),
    ],
)
def test_a_language_model_that_cannot_be_used_as_said_is_refused(tmp_path: Path, line: str, told: str) -> None:
    _write(tmp_path, f"tracking_uri: databricks\nllm:\n  {line}\n")

    with pytest.raises(BadInput, match=re.escape(told)) as found:
        find_workspace(tmp_path)
    assert "secret" not in str(found.value)
