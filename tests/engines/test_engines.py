# pyright: reportMissingImports=false
"""The same rows behind DuckDB, PostgreSQL and Spark: the same hashes, samples, counts and verdicts.

DuckDB's answers are the expected ones; that they are right is shown by tests/conformance/test_data_source.py.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.engines.conftest import PASSWORD, USER
from tools import validation
from tools.adapters.engines import postgres_address
from tools.adapters.ibis_data import IbisData
from tools.adapters.spark_engine import by_rows
from tools.contracts.peers import DriftRequest, Envelope, MonitoringConfig
from tools.contracts.profile import DataSpec, ValidationSpec
from tools.contracts.profiling import SchemaRule
from tools.errors import BadInput, TimedOut, Unavailable

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("default")]

ROWS = 6_000
BASE = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = BASE + timedelta(days=250)
SPEC = DataSpec(
    source="rows.parquet",
    event_time="at",
    target="y",
    features=("amount", "count", "kind", "flag", "huge", "booked"),
    label_time="known",
    key=("at", "kind", "amount", "count", "flag", "huge", "booked"),
    public=("kind",),
)


def frame() -> pd.DataFrame:
    """Every type, with what engines disagree about: NaN, infinities, halves, umlauts, separators, zones, repeats."""
    g = np.random.default_rng(5)
    at = pd.date_range("2026-01-01", periods=ROWS, freq="h", tz="UTC") + pd.to_timedelta(
        g.integers(0, 1_000_000, ROWS), unit="us"
    )
    amount = g.normal(0, 100, ROWS).round(6)
    amount[:4] = [np.nan, np.inf, -np.inf, 0.0000005]
    amount[-700:] *= 12
    kinds = np.array(["a|b", "Ä\\ö", "plain", "o'clock", ""], dtype=object)
    made = pd.DataFrame(
        {
            "at": at,
            "amount": amount,
            "count": pd.array(g.integers(-5, 5, ROWS), dtype="Int64"),
            "kind": g.choice(kinds, ROWS),
            "flag": pd.array(g.random(ROWS) < 0.5, dtype="boolean"),
            "huge": g.choice([1.5e9, -2.25e11, 1_760_000_000_123.0, 7.0], ROWS),
            "booked": pd.date_range("1969-06-01", periods=ROWS, freq="3h"),
            "known": at + pd.to_timedelta(g.integers(3_600, 900_000, ROWS), unit="s"),
            "y": g.integers(0, 2, ROWS),
        }
    )
    made.loc[5:9, ["count", "kind", "flag", "known"]] = None
    made["at"] = made["at"].astype("datetime64[us, UTC]")
    made["known"] = made["known"].astype("datetime64[us, UTC]")
    made["booked"] = made["booked"].astype("datetime64[us]")
    return pd.concat([made, made.tail(3)], ignore_index=True).sample(frac=1, random_state=0)


@dataclass(frozen=True)
class Both:
    """One source on an engine, and the same rows in a file."""

    data: IbisData
    spec: DataSpec
    folder: Path

    @property
    def specs(self) -> tuple[DataSpec, DataSpec]:
        return SPEC, self.spec


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("engines")
    frame().to_parquet(where / "rows.parquet", index=False)
    return where


@pytest.fixture(params=["postgres", "spark", "spark_table"])
def both(request: pytest.FixtureRequest, folder: Path) -> Both:
    data = IbisData(folder, {"PGTEST_PASSWORD": PASSWORD})
    if request.param == "postgres":
        address = request.getfixturevalue("postgres")
        _load(address, folder)
        return Both(data, SPEC.model_copy(update={"source": f"{address}#shop.rows"}), folder)
    request.getfixturevalue("spark")
    if request.param == "spark":
        return Both(data, SPEC.model_copy(update={"source": "spark:rows.parquet"}), folder)
    from pyspark.sql import SparkSession

    session = SparkSession.builder.getOrCreate()
    session.read.parquet(f"file://{folder}/rows.parquet").write.mode("overwrite").saveAsTable("shop_rows")
    return Both(data, SPEC.model_copy(update={"source": "spark:default.shop_rows"}), folder)


def _load(address: str, folder: Path) -> None:
    import psycopg

    port = int(address.rpartition(":")[2].partition("/")[0])
    with psycopg.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres") as con:
        con.execute("CREATE SCHEMA IF NOT EXISTS shop")
        con.execute("DROP TABLE IF EXISTS shop.rows")
        con.execute(
            "CREATE TABLE shop.rows (at timestamptz, amount double precision, count bigint, kind text, flag boolean,"
            " huge double precision, booked timestamp, known timestamptz, y bigint)"
        )
        rows = pd.read_parquet(folder / "rows.parquet").astype(object)
        rows = rows.where(rows.notna() | rows.columns.isin(["amount"]), None)
        with con.cursor().copy("COPY shop.rows FROM STDIN") as copy:
            for row in rows.itertuples(index=False):
                copy.write_row([None if value is pd.NaT or value is pd.NA else value for value in row])


def _same(both: Both, ask: Any) -> Any:
    expected, found = (ask(spec, number) for number, spec in enumerate(both.specs))
    assert found == expected
    return expected


def test_ranges_counts_and_shares_are_the_same(both: Both):
    data = both.data
    span = _same(both, lambda spec, _: data.time_range(spec, AS_OF))
    assert span is not None
    assert span[2] > ROWS * 0.9
    _same(both, lambda spec, _: data.labelled_range(spec, BASE, AS_OF, AS_OF))
    rows, labelled = _same(both, lambda spec, _: data.count(spec, BASE, AS_OF, AS_OF))
    assert 0 < labelled < rows
    _same(both, lambda spec, _: data.time_at_share(spec, BASE, AS_OF, AS_OF, 0.2))


def test_rows_have_the_same_hashes_and_the_same_sample(both: Both):
    def written(spec: DataSpec, number: int) -> Any:
        path = both.folder / f"window-{number}.parquet"
        ref = both.data.write_window(spec, BASE, AS_OF, path, 500, known_by=AS_OF)
        rows = pd.read_parquet(path)
        assert len(rows) == 500
        return ref.digest, ref.sampled_from, ref.start, ref.end, rows["__row_hash"].tolist(), rows["__mature"].tolist()

    _same(both, written)


def test_training_rows_are_the_same(both: Both):
    def written(spec: DataSpec, number: int) -> Any:
        path = both.folder / f"labelled-{number}.parquet"
        ref = both.data.write_labelled(spec, BASE, AS_OF, AS_OF, path)
        rows = pd.read_parquet(path)
        values = [
            rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in ("amount", "kind", "flag")
        ]
        return ref.digest, ref.rows, ref.start, ref.end, values, rows["at"].astype("int64").tolist()

    assert _same(both, written)[1] > 5_000


def test_exact_counts_are_the_same(both: Both):
    def counted(spec: DataSpec, _: int) -> Any:
        made = both.data.summary(spec, BASE, AS_OF, AS_OF, (*spec.features, spec.target))
        delay = made.delay
        assert delay is not None
        columns = [(c.name, c.nulls, c.infinite, c.low, c.high) for c in made.columns]
        return made.rows, made.labelled, made.newest, made.newest_labelled, made.undated, columns, delay

    rows = _same(both, counted)
    assert ("amount", 1, 2) in [column[:3] for column in rows[5]]


def test_rules_are_counted_the_same(both: Both):
    rules = [
        SchemaRule(column="amount", check="in_range", arguments={"min_value": -300, "max_value": 300}),
        SchemaRule(column="kind", check="isin", arguments={"allowed_values": ["plain", "a|b"]}),
        SchemaRule(column="kind", check="not_null"),
        SchemaRule(column="at", check="unique", arguments={"columns": ("at",)}),
    ]

    def counted(spec: DataSpec, _: int) -> Any:
        found = both.data.check_schema(spec, BASE, AS_OF, rules)
        return [(one.rule.check, one.rows, one.failing, one.reason) for one in found]

    assert all(failing for _, _, failing, _ in _same(both, counted))


def test_verdicts_of_drift_and_validation_are_the_same(both: Both):
    from tools.adapters.drift_local import LocalDriftDetective

    change = BASE + timedelta(days=200)

    def judged(spec: DataSpec, number: int) -> Any:
        paths = [both.folder / f"{name}-{number}.parquet" for name in ("reference", "current")]
        both.data.write_window(spec, BASE, change, paths[0], 2_000, known_by=AS_OF)
        ref = both.data.write_window(spec, change, AS_OF, paths[1], 2_000, known_by=AS_OF)
        config = MonitoringConfig(
            reference_data=str(paths[0]), current_data_window=str(paths[1]), features=spec.features
        )
        request = Envelope[DriftRequest](
            schema_version="1.0",
            run_id="r1",
            model_id="m",
            data_window_digest=ref.digest,
            sent_at=AS_OF,
            sender="test",
            payload=DriftRequest(model_id="m", monitoring_config=config),
        )
        reply = LocalDriftDetective(lambda: AS_OF, html=False).detect(request, both.folder)
        profiles = [both.data.profile(path, spec) for path in paths]
        report = validation.validate(
            reference=profiles[0],
            window=profiles[1],
            holdout=profiles[1],
            spec=ValidationSpec(),
            data=spec,
            task="classification",
            labelled_rows=2_000,
            columns=dict.fromkeys((*spec.features, spec.target, spec.event_time), ""),
        )
        return reply.to_json_dict(), report.to_json_dict()

    reply, _ = _same(both, judged)
    drifted = [f["feature"] for f in reply["payload"]["driftReport"]["featureDrift"] if f["severity"] == "drifted"]
    assert "amount" in drifted


def slow(data: IbisData, spec: DataSpec) -> Any:
    """Minutes of work, in steps short enough that an engine which stops between rows stops at once."""
    table = data._engines.of(spec.source).table(spec.source)  # the port itself asks nothing slow
    few = [table.select(table["amount"].name(f"x{number}")).limit(300) for number in range(4)]
    joined = few[0].cross_join(few[1]).cross_join(few[2]).cross_join(few[3])
    return joined.aggregate(most=(joined["x0"] * joined["x1"] + joined["x2"] * joined["x3"]).max())


def test_query_that_takes_too_long_is_cancelled(both: Both):
    started = time.monotonic()
    with both.data.budget(queries=10, seconds=2), pytest.raises(TimedOut, match="cancelled after 2 s"):
        both.data._ask(both.spec, slow(both.data, both.spec))
    assert both.data.count(both.spec, BASE, AS_OF, AS_OF)[0] > 0
    assert time.monotonic() - started < 60


def test_cancelling_leaves_the_queries_of_other_threads_alone(spark: None, folder: Path):
    data, spec = IbisData(folder), SPEC.model_copy(update={"source": "spark:rows.parquet"})
    done = threading.Event()
    counted: list[int] = []

    def count() -> None:
        while not done.is_set():
            counted.append(data.count(spec, BASE, AS_OF, AS_OF)[0])

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(count)
        try:
            with data.budget(queries=1, seconds=3), pytest.raises(TimedOut):
                data._ask(spec, slow(data, spec))
        finally:
            done.set()
        assert other.result(60) is None
    assert set(counted) == {data.count(spec, BASE, AS_OF, AS_OF)[0]}


def test_rows_of_a_cluster_come_as_those_of_a_local_session(spark: None, folder: Path):
    engine = IbisData(folder)._engines.of("spark:rows.parquet")
    table = engine.table("spark:rows.parquet")
    engine.fetch(table, folder / "written.parquet")
    by_rows(engine._session.sql(engine.con.compile(table)), folder / "streamed.parquet")
    written, streamed = (pd.read_parquet(folder / name) for name in ("written.parquet", "streamed.parquet"))
    assert len(streamed) == ROWS + 3
    order = ["at", "amount", "huge"]
    pd.testing.assert_frame_equal(
        streamed.sort_values(order, ignore_index=True), written.sort_values(order, ignore_index=True)
    )


def test_spark_reads_an_address_of_its_own(spark: None, folder: Path):
    source = f"spark:{(folder / 'rows.parquet').as_uri()}"
    assert IbisData(folder).time_range(SPEC.model_copy(update={"source": source}), AS_OF)
    with pytest.raises((BadInput, Unavailable), match="rowz"):
        IbisData(folder).columns(SPEC.model_copy(update={"source": source.replace("rows", "rowz")}))


def test_connection_that_the_server_ended_is_opened_anew(postgres: str, folder: Path):
    import psycopg

    _load(postgres, folder)
    data = IbisData(folder, {"PGTEST_PASSWORD": PASSWORD})
    spec = SPEC.model_copy(update={"source": f"{postgres}#shop.rows"})
    before = data.count(spec, BASE, AS_OF, AS_OF)
    address = postgres_address(spec.source, {"PGTEST_PASSWORD": PASSWORD})
    address["dbname"] = address.pop("database")
    with psycopg.connect(**address, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(Unavailable, match="could not be read"):
        data.count(spec, BASE, AS_OF, AS_OF)
    assert data.count(spec, BASE, AS_OF, AS_OF) == before


def test_parameters_of_an_address_reach_the_driver(postgres: str, folder: Path):
    data = IbisData(folder, {"PGTEST_PASSWORD": PASSWORD})
    with pytest.raises(Unavailable, match="SSL"):  # which this server has not
        data.columns(SPEC.model_copy(update={"source": f"{postgres}?sslmode=require#shop.rows"}))


def test_table_that_is_not_there_is_named(both: Both):
    gone = both.spec.source.replace("rows", "rowz")
    with pytest.raises((BadInput, Unavailable)) as caught:
        both.data.columns(both.spec.model_copy(update={"source": gone}))
    assert "rowz" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_password_stands_in_no_error(postgres: str, folder: Path):
    data = IbisData(folder, {"PGTEST_PASSWORD": "wrong-" + PASSWORD})
    with pytest.raises(Unavailable) as caught:
        data.columns(SPEC.model_copy(update={"source": f"{postgres}#shop.rows"}))
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in os.environ.get("PGTEST_PASSWORD", "")
