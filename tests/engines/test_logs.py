# pyright: reportMissingImports=false
"""Answers, labels and batch predictions in a real PostgreSQL: the suites that files pass, and what only a server can do."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.answers import OPEN, answer, copier, written
from tests.conformance.batch_world import A_DAY, World, day
from tests.conformance.test_batch_target import (  # noqa: F401 - run here on this module's `world`
    mirror,
    promoted,
    test_a_candidate_that_cannot_score_is_unhealthy_and_the_champion_goes_on,
    test_a_candidate_that_gives_another_number_of_rows_is_unhealthy,
    test_a_partition_without_rows_is_passed_over_until_it_has_some,
    test_a_version_that_lost_its_turn_while_it_scored_writes_nothing,
    test_a_version_whose_files_were_altered_is_not_run_and_the_champion_goes_on,
    test_both_versions_answers_are_paired_by_row_and_get_the_labels_that_their_rows_have,
    test_both_versions_score_the_partitions_that_follow_and_only_the_champion_is_read,
    test_late_rows_are_scored_with_the_rest_of_their_partition_by_the_same_version,
    test_promotion_falls_on_a_boundary_and_is_proved_only_by_the_first_partition_written,
    test_scoring_twice_changes_nothing_and_runs_no_model,
    test_the_first_partition_is_the_latest_that_is_over,
    test_undo_scores_anew_every_partition_that_the_bad_version_wrote,
    with_command,
)
from tests.conformance.test_targets import request
from tests.conformance.test_traffic_log import (  # noqa: F401 - run here on this module's `make`
    FULL,
    LABELS,
    labels,
    test_a_label_joins_both_answers_of_its_request_whatever_its_delay,
    test_a_label_known_only_later_is_hidden,
    test_answers_of_other_versions_are_left_out,
    test_answers_of_the_future_are_left_out_as_after_a_jump_of_the_clock,
    test_each_version_is_thinned_by_its_own_number_of_answers,
    test_every_answer_in_the_window_comes_whole_and_in_order_of_time,
    test_labels_that_match_no_request_are_counted_a_request_once,
    test_missing_numbers_are_nan_and_a_missing_prediction_is_none,
    test_no_version_asked_gives_no_row,
    test_of_labels_that_came_twice_the_first_counts_and_they_are_counted,
    test_of_many_answers_all_logs_read_the_same_part_and_a_later_look_reads_that_and_more,
    test_rows_without_id_label_or_time_are_no_labels,
    test_the_window_holds_its_first_moment_and_not_its_last,
)
from tests.engines.conftest import PASSWORD, USER
from tools.adapters.appended_table import AppendedTable
from tools.adapters.label_store import Added, add_labels
from tools.adapters.serving.answer_copy import Copied
from tools.adapters.traffic_log import IbisLabels, IbisTrafficLog
from tools.contracts.profile import LabelSpec
from tools.errors import BadInput, Unavailable

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("default")]

ENVIRON = {"PGTEST_PASSWORD": PASSWORD}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Shop:
    """A schema of its own in the server."""

    def __init__(self, address: str, name: str) -> None:
        self.address, self.name = address, name
        self._port = int(address.rpartition(":")[2].partition("/")[0])

    def source(self, table: str, user: str | None = None) -> str:
        address = self.address if user is None else self.address.replace(f"//{USER}:", f"//{user}:")
        return f"{address}#{self.name}.{table}"

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """The rows of the last statement, where it has any."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self._port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as con:
            con.execute(f"SET search_path TO {self.name}; SET timezone TO 'UTC'".encode())
            for statement in statements:
                cursor = con.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def load(self, table: str, frame: pd.DataFrame) -> None:
        import ibis
        import pyarrow as pa

        con = ibis.postgres.connect(
            host="127.0.0.1", port=self._port, user=USER, password=PASSWORD, database="postgres", schema=self.name
        )
        con.create_table(table, pa.Table.from_pandas(frame, preserve_index=False), database=self.name)
        con.con.commit()
        con.disconnect()


@pytest.fixture
def shop(postgres: str) -> Shop:
    made = Shop(postgres, f"shop_{uuid.uuid4().hex[:12]}")
    made.sql("SELECT 1")
    made.sql(f"CREATE SCHEMA {made.name}")
    return made


@pytest.fixture
def make(shop: Shop, tmp_path: Path) -> Callable[..., IbisTrafficLog]:
    def made(log: pd.DataFrame, known: pd.DataFrame | None = None) -> IbisTrafficLog:
        shop.load("log", log)
        if known is not None:
            shop.load("labels", known)
        return IbisTrafficLog(
            FULL.model_copy(update={"source": shop.source("log")}),
            LABELS.model_copy(update={"source": shop.source("labels")}),
            tmp_path,
            ENVIRON,
        )

    return made


@pytest.fixture
def world(shop: Shop, tmp_path: Path) -> World:
    made = World(tmp_path, environ=ENVIRON, output=shop.source("output"), shadow=shop.source("shadow"))
    made.target.apply(request("6", 100, None))
    return made


# --- batch -----------------------------------------------------------------------------------------------------------


def test_rescoring_list_names_what_the_bad_version_wrote_in_the_table_and_no_password(shop: Shop, tmp_path: Path):
    import json

    world = with_command(tmp_path, environ=ENVIRON, output=shop.source("output"), shadow=shop.source("shadow"))
    reply = world.target.undo(request("6", 100, None))
    (call,) = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert [
        (each["start"], each["badVersion"], each["version"], each["rows"]) for each in call["order"]["partitions"]
    ] == [
        (day(4).isoformat(), "7", "6", A_DAY),
        (day(5).isoformat(), "7", "6", A_DAY),
    ]
    assert PASSWORD not in json.dumps(call)
    assert reply.observed_weights == {"7": 100}, "it wrote nothing, and that is seen"
    # What the command should have done.
    shop.sql("UPDATE output SET model_version = '6' WHERE model_version = '7'")
    assert world.target.status(request("6", 100, None)).observed_weights == {"6": 100}


def test_partition_is_exchanged_whole_and_readers_never_see_half_of_one(world: World, shop: Shop):
    seen: set[int] = set()
    done = threading.Event()

    def read() -> None:
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=shop._port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as con:
            while not done.is_set():
                seen.add(con.execute(f"SELECT count(*) FROM {shop.name}.output").fetchone()[0])  # pyright: ignore

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(5):
            rows = _partition(world)
            world.target._output.write(day(2), "7", rows)
            world.target._output.write(day(2), "6", rows)
    finally:
        done.set()
        reader.join()
    assert seen == {A_DAY}


def _partition(world: World) -> Any:
    import ibis

    table = world.target._output._open.table(world.profile.target.output)  # pyright: ignore
    return table.filter(ibis._.partition_start == day(2)).to_pyarrow()


def test_write_that_the_server_refuses_leaves_the_partition_as_it_was(world: World, shop: Shop):
    shop.sql("ALTER TABLE output ADD CONSTRAINT no_sevens CHECK (model_version <> '7')")
    world.target.apply(request("7", 100))
    world.now = day(5.5)
    with pytest.raises(Unavailable, match="no_sevens"):
        world.target.status(request("7"))
    assert world.output() == {2: "6", 3: "6"}
    shop.sql("ALTER TABLE output DROP CONSTRAINT no_sevens")
    world.again().status(request("7"))
    assert world.output() == {2: "6", 3: "6", 4: "7"}


# --- labels ----------------------------------------------------------------------------------------------------------


def csv(root: Path, text: str) -> Path:
    path = root / "in.csv"
    path.write_text(text)
    return path


def own(shop: Shop, user: str | None = None) -> LabelSpec:
    return LabelSpec(source=shop.source("truth", user), request_id="id", label="price", time="told")


def test_labels_make_the_table_where_it_is_not_there_and_come_once(shop: Shop, tmp_path: Path):
    file = csv(tmp_path, "request_id,label,at\nq1,1.5,2026-03-01T13:00:00+01:00\nq2,2,2026-03-01\n")
    assert add_labels(own(shop), tmp_path, file, NOW, ENVIRON) == Added(2, 0, 0)
    assert add_labels(own(shop), tmp_path, file, NOW, ENVIRON) == Added(0, 2, 0)
    file = csv(tmp_path, "request_id,label\nq2,2\nq1,7\nq3,\n")
    assert add_labels(own(shop), tmp_path, file, NOW, ENVIRON) == Added(1, 1, 1)
    assert shop.sql("SELECT id, price, told FROM truth ORDER BY id, price") == [
        ("q1", 1.5, NOW),
        ("q1", 7.0, NOW),
        ("q2", 2.0, NOW - timedelta(hours=12)),
    ]
    known = IbisLabels(own(shop), tmp_path, ENVIRON).of(["q1", "q2"], NOW)
    assert sorted(known.request_id.tolist()) == ["q1", "q1", "q2"]


def test_table_of_the_users_keeps_its_types_and_its_other_columns(shop: Shop, tmp_path: Path):
    shop.sql(
        "CREATE TABLE truth (no serial PRIMARY KEY, id uuid, price numeric(8, 2), told timestamp, who text DEFAULT 'us')"
    )
    first, second = uuid.uuid4(), uuid.uuid4()
    shop.sql(f"INSERT INTO truth (id, price, told, who) VALUES ('{first}', 1.50, '2026-01-01', 'till')")
    file = csv(tmp_path, f"request_id,label\n{first},1.5\n{second},2.25\n")
    assert add_labels(own(shop), tmp_path, file, NOW, ENVIRON) == Added(1, 1, 0)
    assert [str(each) for each in shop.sql("SELECT id, price, told, who FROM truth ORDER BY no")[1]] == [
        *(str(second), "2.25", "2026-03-01 12:00:00", "us")
    ]
    known = IbisLabels(own(shop), tmp_path, ENVIRON).of([first, second], NOW)
    assert sorted(known.label.astype(float).tolist()) == [1.5, 2.25]


@pytest.mark.parametrize(
    ("table", "text", "said"),
    [
        ("id text, price bigint, told timestamptz", "q1,1\nq2,1.5", "price is of type double"),
        ("id bigint, price bigint, told timestamptz", "1,1\nnonsense,2", "id is of type string"),
        ("id uuid, price bigint, told timestamptz", "nonsense,2", "does not take a row .*uuid"),
        ("id text, price bigint, told timestamptz, must text NOT NULL", "q1,1", "does not take a row .*must"),
        ("id text, price bigint CHECK (price < 5), told timestamptz", "q1,1\nq2,9", "does not take a row .*check"),
        ("id text, price bigint, seen timestamptz", "q1,1", "has no column 'told'"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_none_of_them_is_added(
    shop: Shop, tmp_path: Path, table: str, text: str, said: str
):
    shop.sql(f"CREATE TABLE truth ({table})")
    with pytest.raises(BadInput, match=said):
        add_labels(own(shop), tmp_path, csv(tmp_path, f"request_id,label\n{text}\n"), NOW, ENVIRON)
    assert shop.sql("SELECT count(*) FROM truth") == [(0,)]


def test_right_to_read_and_insert_is_enough_and_less_is_told(shop: Shop, tmp_path: Path):
    user = f"clerk_{uuid.uuid4().hex[:8]}"
    shop.sql(
        f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'",
        f"GRANT USAGE ON SCHEMA {shop.name} TO {user}",
        "CREATE TABLE truth (id text, price bigint, told timestamptz)",
        f"GRANT SELECT ON truth TO {user}",
    )
    file = csv(tmp_path, "request_id,label\nq1,1\n")
    with pytest.raises(Unavailable, match=r"could not be written .*permission denied") as refused:
        add_labels(own(shop, user), tmp_path, file, NOW, ENVIRON)
    assert PASSWORD not in f"{refused.value.message} {refused.value.value}"
    shop.sql(f"GRANT INSERT ON truth TO {user}")
    assert add_labels(own(shop, user), tmp_path, file, NOW, ENVIRON) == Added(1, 0, 0)


def test_server_that_is_away_adds_nothing_and_says_so(tmp_path: Path):
    spec = LabelSpec(source=f"postgresql://{USER}:${{PGTEST_PASSWORD}}@127.0.0.1:1/postgres#x.truth")
    with pytest.raises(Unavailable, match="does not answer"):
        add_labels(spec, tmp_path, csv(tmp_path, "request_id,label\nq1,1\n"), NOW, ENVIRON)


def test_two_who_append_the_same_rows_at_once_add_them_once(shop: Shop, tmp_path: Path):
    import pyarrow as pa

    rows = pa.table({"id": [f"q{i}" for i in range(500)], "label": [1] * 500})
    shop.sql("CREATE TABLE truth (id text, label bigint)")
    added: list[int] = []

    def append() -> None:
        table = AppendedTable(shop.source("truth"), tmp_path, ENVIRON, key=("id", "label"), thing="rollout.labels")
        added.append(table.append(rows))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == [0, 0, 0, 500]
    assert shop.sql("SELECT count(*), count(DISTINCT id) FROM truth") == [(500, 500)]


def test_labels_in_the_server_join_answers_in_files_and_orphans_are_counted(shop: Shop, tmp_path: Path):
    from tests.conformance.test_traffic_log import answers, seen

    answers(3).to_parquet(tmp_path / "log.parquet")
    shop.load("labels", labels(("q0", "good", 5), ("q0", "poor", 6), ("lost", "good", 7)))
    log = IbisTrafficLog(
        FULL.model_copy(update={"source": "log.parquet"}),
        LABELS.model_copy(update={"source": shop.source("labels")}),
        tmp_path,
        ENVIRON,
    )
    found = seen(log)
    assert found.label.tolist() == ["good", None, None]
    assert (found.orphan_labels, found.doubled_labels) == (1, 1)


# --- copied answers --------------------------------------------------------------------------------------------------


def in_server(shop: Shop, root: Path, task: str = "classification") -> Any:
    return copier(root, task, source=shop.source("answers"), environ=ENVIRON)


def test_answers_are_copied_once_a_request_and_version_and_read_back_as_a_log(shop: Shop, tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6"), answer(2, "6", prediction=None, failed=True), answer(1, "6")], "1")
    written(tmp_path, "7", [answer(1, "7", mirrored=True, probability=0.25), answer(2, "7", id="a\0b")], "1")
    assert in_server(shop, tmp_path).copy(wait=True) == Copied(added=4, known=1)
    (tmp_path / "copied.json").unlink()
    written(tmp_path, "7", [answer(3, "7")], "2")
    assert in_server(shop, tmp_path).copy(wait=True) == Copied(added=1, known=5)
    log = IbisTrafficLog(OPEN.model_copy(update={"source": shop.source("answers")}), None, tmp_path, ENVIRON)
    until = datetime.fromtimestamp(100, UTC)
    seen = log.observations(["6", "7"], until - timedelta(days=1), until, 10)
    assert sorted(zip(seen.version, seen.request_id, strict=True)) == [
        *(("6", "q1"), ("6", "q2"), ("7", "a\N{REPLACEMENT CHARACTER}b"), ("7", "q1"), ("7", "q3"))
    ]
    assert np.nanmax(seen.probability) == 0.25
    assert seen.failed.sum() == 1


@pytest.mark.parametrize("at", ["timestamptz(0)", "timestamp(3)", "text"])
def test_table_that_keeps_times_and_versions_in_another_way_gets_no_answer_twice(shop: Shop, tmp_path: Path, at: str):
    shop.sql(
        f"CREATE TABLE answers (no serial, request_id text, version bigint, at {at}, mirrored boolean, failed boolean,"
        " latency_ms real, prediction text, probability double precision)"
    )
    written(tmp_path, "6", [answer(1, "6", at=1000.4004), answer(2, "6", at=1000.9996)], "1")
    assert in_server(shop, tmp_path).copy(wait=True) == Copied(added=2)
    (tmp_path / "copied.json").unlink()
    written(tmp_path, "6", [answer(3, "6", at=1001.0)], "1")
    assert in_server(shop, tmp_path).copy(wait=True) == Copied(added=1, known=2)
    log = IbisTrafficLog(OPEN.model_copy(update={"source": shop.source("answers")}), None, tmp_path, ENVIRON)
    until = datetime.fromtimestamp(2000, UTC)
    assert len(log.observations(["6"], until - timedelta(days=1), until, 10)) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.answers import copier
from tools.adapters.serving import answer_copy

class Layout:
    read = staticmethod(answer_copy.layout.read)
    @staticmethod
    def replace(path, content):
        os.kill(os.getpid(), signal.SIGKILL)

answer_copy.layout = Layout
copier(Path(sys.argv[1]), source=sys.argv[2], environ=dict(os.environ)).copy(wait=True)
"""


@pytest.mark.parametrize("engine", ["postgres", "folder"])
def test_copy_killed_between_the_append_and_its_offsets_is_resumed_without_a_double(
    engine: str, shop: Shop, tmp_path: Path
):
    source = shop.source("answers") if engine == "postgres" else "answers-table"
    written(tmp_path, "6", [answer(n, "6") for n in range(100)], "1")
    for _ in range(2):
        dead = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), source], env={**os.environ, **ENVIRON}, capture_output=True
        )
        assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    assert not (tmp_path / "copied.json").exists()
    written(tmp_path, "6", [answer(100, "6")], "1")
    assert copier(tmp_path, source=source, environ=ENVIRON).copy(wait=True) == Copied(added=1, known=100)
    log = IbisTrafficLog(OPEN.model_copy(update={"source": source}), None, tmp_path, ENVIRON)
    until = datetime.fromtimestamp(1000, UTC)
    seen = log.observations(["6"], until - timedelta(days=1), until, 1000)
    assert sorted(seen.request_id.tolist()) == sorted(f"q{n}" for n in range(101))


def test_connection_that_the_server_cut_is_opened_again(shop: Shop, tmp_path: Path):
    copies = in_server(shop, tmp_path)
    written(tmp_path, "6", [answer(1, "6")], "1")
    copies.copy(wait=True)
    shop.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = current_user"
    )
    written(tmp_path, "6", [answer(2, "6")], "1")
    with pytest.raises(Unavailable):
        copies.copy(wait=True)
    assert copies.copy(wait=True) == Copied(added=1)
    assert shop.sql("SELECT count(*) FROM answers") == [(2,)]
