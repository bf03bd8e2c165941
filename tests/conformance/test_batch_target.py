"""What a batch target does partition by partition, and what can go wrong with one."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conformance.batch_world import A_DAY, World, day, rows
from tests.conformance.test_targets import request
from tools.adapters.batch_tables import ParquetPartitions
from tools.contracts.peers import DeploymentRequest, TrafficConfig
from tools.contracts.training import ScoringResult
from tools.errors import BadInput, Unavailable


def mirror(version: str = "7", previous: str = "6", percent: int = 100) -> DeploymentRequest:
    return request(version, 0, previous).model_copy(
        update={"traffic_config": TrafficConfig(canary_percent=0, mirror_percent=percent)}
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.target.apply(request("6", 100, None))
    return made


def promoted(world: World) -> World:
    """Version 7 wrote days 4 and 5."""
    world.target.apply(request("7", 100))
    world.now = day(6.5)
    world.target.status(request("7"))
    assert world.output() == {2: "6", 3: "6", 4: "7", 5: "7"}
    return world


def test_the_first_partition_is_the_latest_that_is_over(world: World):
    assert world.output() == {2: "6"}
    assert world.target.status(request("6")).observed_weights == {"6": 100}


def test_a_partition_that_is_half_way_is_not_scored(world: World):
    world.now = day(3.9)
    world.target.status(request("6"))
    assert world.output() == {2: "6"}
    world.now = day(4.5)
    world.target.status(request("6"))
    assert world.output() == {2: "6", 3: "6"}


def test_both_versions_score_the_partitions_that_follow_and_only_the_champion_is_read(world: World):
    reply = world.target.apply(mirror())
    assert (reply.observed_weights, reply.observed_mirror, reply.healthy) == ({"6": 100}, 100, None)
    world.now = day(4.5)
    assert world.target.status(mirror()).healthy is None, "one of two partitions is not enough to tell"
    world.now = day(5.5)
    reply = world.target.status(mirror())
    assert (reply.observed_weights, reply.healthy) == ({"6": 100}, True)
    assert world.output() == {2: "6", 3: "6", 4: "6"}
    assert world.shadow() == {3: "7", 4: "7"}


def test_promotion_falls_on_a_boundary_and_is_proved_only_by_the_first_partition_written(world: World):
    reply = world.target.apply(request("7", 100))
    assert (reply.observed_weights, reply.healthy) == (None, None)
    world.now = day(4.5)
    assert world.target.status(request("7")).observed_weights is None
    assert world.output()[3] == "6", "the partition that was half way stays the champion's"
    world.now = day(5.5)
    reply = world.target.status(request("7"))
    assert (reply.observed_weights, reply.healthy) == ({"7": 100}, True)
    assert world.output() == {2: "6", 3: "6", 4: "7"}


def test_the_output_says_what_the_model_predicted_and_who_it_was(world: World):
    table = pd.read_parquet(next((world.folder / "output").glob("*.parquet")))
    assert list(table.columns) == [
        *("request_id", "id", "at", "prediction", "probability", "model_version", "partition_start", "scored_at"),
        "mirrored",
    ]
    assert len(table) == A_DAY
    assert table["prediction"].tolist() == [float(i % 7) + 6 for i in table["id"]]
    assert set(table["model_version"]) == {"6"}
    assert set(table["partition_start"]) == {pd.Timestamp(day(2))}


def test_scoring_twice_changes_nothing_and_runs_no_model(world: World):
    jobs = len(world.scorer.jobs)
    world.target.status(request("6"))
    world.again().status(request("6"))
    assert len(world.scorer.jobs) == jobs


def test_undo_scores_anew_every_partition_that_the_bad_version_wrote(world: World):
    promoted(world)
    for _ in range(2):
        reply = world.target.undo(request("6", 100, None))
        assert (reply.observed_weights, reply.monitoring) == ({"6": 100}, {})
    assert world.output() == {2: "6", 3: "6", 4: "6", 5: "6"}
    world.now = day(7.5)
    world.target.status(request("6"))
    assert world.output()[6] == "6"


RECORD = """
import json, os, sys, pathlib
order = json.load(sys.stdin)
line = {"order": order, "key": os.environ["RETRAINING_IDEMPOTENCY_KEY"], "action": os.environ["RETRAINING_ACTION"]}
print(json.dumps(line), file=open("calls.jsonl", "a"))
if pathlib.Path("broken").exists():
    sys.exit("no cluster")
"""


def with_command(folder: Path, **more: Any) -> World:
    (folder / "rescore.py").write_text(RECORD)
    world = World(folder, rescore=(sys.executable, "rescore.py"), **more)
    world.target.apply(request("6", 100, None))
    return promoted(world)


def calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_the_rescoring_command_is_given_every_bad_partition_once_and_its_word_is_not_believed(tmp_path: Path):
    world = with_command(tmp_path)
    for _ in range(2):
        reply = world.target.undo(request("6", 100, None))
    (call,) = calls(tmp_path)
    assert call["action"] == "rescore"
    assert call["key"] == call["order"]["idempotencyKey"]
    assert [(each["start"], each["badVersion"], each["version"]) for each in call["order"]["partitions"]] == [
        (day(4).isoformat(), "7", "6"),
        (day(5).isoformat(), "7", "6"),
    ]
    assert reply.observed_weights == {"7": 100}, "it wrote nothing, and that is seen"
    assert reply.monitoring["toRescore"] == [day(4).isoformat(), day(5).isoformat()]


def test_a_rescoring_command_that_fails_is_called_again_under_the_same_key(tmp_path: Path):
    world = with_command(tmp_path)
    (tmp_path / "broken").touch()
    with pytest.raises(Unavailable, match="rescore command failed with exit code 1: no cluster"):
        world.target.undo(request("6", 100, None))
    (tmp_path / "broken").unlink()
    world.again().undo(request("6", 100, None))
    first, second = calls(tmp_path)
    assert first == second


def test_a_candidate_that_cannot_score_is_unhealthy_and_the_champion_goes_on(world: World):
    def fails(_: Any) -> Any:
        return ScoringResult(status="failed", statement="KeyError: x", by_model=True)

    world.scorer.models["models:/prices/7"] = fails(None)
    world.target.apply(mirror())
    world.now = day(4.5)
    reply = world.target.status(mirror())
    assert reply.healthy is False
    assert "KeyError: x" in reply.monitoring["fault"]
    assert (world.output(), world.shadow()) == ({2: "6", 3: "6"}, {})


def test_a_version_whose_files_were_altered_is_not_run_and_the_champion_goes_on(world: World):
    world.digests["7"] = "as registered"
    world.target.apply(mirror())
    world.now = day(4.5)
    reply = world.target.status(mirror())
    assert reply.healthy is False
    assert "was altered" in reply.monitoring["fault"]
    assert (world.output(), world.shadow()) == ({2: "6", 3: "6"}, {})
    world.scorer.digests["models:/prices/7"] = "as registered"
    world.target.status(mirror())
    assert world.shadow() == {3: "7"}


def test_a_version_without_a_recorded_digest_is_scored_all_the_same(world: World):
    assert [job.expected_digest for job in world.scorer.jobs] == [None]


def test_a_candidate_that_gives_another_number_of_rows_is_unhealthy(world: World):
    world.scorer.models["models:/prices/7"] = lambda frame: {"prediction": frame["x"].to_numpy()[1:]}
    world.target.apply(mirror())
    world.now = day(4.5)
    assert world.target.status(mirror()).healthy is False
    assert world.shadow() == {}


def test_scoring_that_fails_by_nobodys_fault_is_unavailable_and_holds_nothing_against_the_version(world: World):
    world.scorer.models["models:/prices/7"] = ScoringResult(status="failed", statement="the registry is away")
    world.target.apply(mirror())
    world.now = day(4.5)
    with pytest.raises(Unavailable, match="the registry is away"):
        world.target.status(mirror())
    world.scorer.models["models:/prices/7"] = world.scorer.models["models:/prices/6"]
    assert world.target.status(mirror()).healthy is None
    assert world.shadow() == {3: "7"}


def test_a_partition_without_rows_is_passed_over_until_it_has_some(world: World):
    whole = world.data.frames["rows"]
    gone = (whole["at"] >= pd.Timestamp(day(3))) & (whole["at"] < pd.Timestamp(day(4)))
    world.data.frames["rows"] = whole[~gone]
    world.now = day(5.5)
    world.target.status(request("6"))
    assert world.output() == {2: "6", 4: "6"}
    world.data.frames["rows"] = whole
    world.target.status(request("6"))
    assert world.output() == {2: "6", 3: "6", 4: "6"}


def test_late_rows_are_scored_with_the_rest_of_their_partition_by_the_same_version(world: World):
    late = rows(3).tail(1).assign(id=999)
    world.data.frames["rows"] = pd.concat([world.data.frames["rows"], late])
    world.target.status(request("6"))
    (written,) = world.target._output.written()
    assert (written.version, written.rows) == ("6", A_DAY + 1)


def test_a_full_disk_leaves_what_stood_there_and_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch):
    before = sorted((world.folder / "output").iterdir())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    world.now = day(4.5)
    with monkeypatch.context() as patched:
        patched.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            world.target.status(request("6"))
    assert world.output() == {2: "6"}
    assert sorted((world.folder / "output").iterdir()) == before
    world.target.status(request("6"))
    assert world.output() == {2: "6", 3: "6"}


def test_what_a_crash_left_half_written_is_no_partition(world: World):
    (world.folder / "output" / ".20260304T000000Z.parquet.part").write_bytes(b"PAR1 half")
    world.now = day(4.5)
    world.target.status(request("6"))
    assert world.output() == {2: "6", 3: "6"}
    assert len(list((world.folder / "output").iterdir())) == 2


def test_a_version_that_lost_its_turn_while_it_scored_writes_nothing(world: World):
    world.target.apply(request("7", 100))
    world.now = day(5.5)

    def slow(frame: Any) -> Any:
        world.target._file.change(lambda now: now.model_copy(update={"turns": now.turns[:1]}))
        return {"prediction": frame["x"].to_numpy()}

    world.scorer.models["models:/prices/7"] = slow
    world.target.status(request("7"))
    assert world.output() == {2: "6", 3: "6"}
    world.target.status(request("6"))
    assert world.output() == {2: "6", 3: "6", 4: "6"}


def test_another_process_at_work_is_not_waited_for_by_a_look(world: World):
    world.now = day(4.5)
    with world.target._file.scoring(wait=True):
        assert world.again().score_due(wait=False).busy
    assert not world.again().score_due(wait=False).busy


def test_rows_of_the_future_close_no_partition(world: World):
    ahead = rows(1).head(1).assign(id=1000, at=pd.Timestamp(day(3000)))
    world.data.frames["rows"] = pd.concat([world.data.frames["rows"], ahead])
    world.target.status(request("6"))
    assert world.output() == {2: "6"}


def test_both_versions_answers_are_paired_by_row_and_get_the_labels_that_their_rows_have(world: World):
    world.target.apply(mirror())
    world.now = day(5.5)
    world.target.status(mirror())
    seen = world.target.log.observations(["6", "7"], day(0), day(6), 1000)
    champion, candidate = seen.of(seen.version == "6"), seen.of(seen.version == "7")
    assert set(candidate.request_id) < set(champion.request_id)
    assert len(candidate) == 2 * A_DAY
    assert (champion.mirrored.any(), candidate.mirrored.all()) == (False, True)
    assert np.array_equal(candidate.prediction.astype(float) - candidate.label.astype(float), [7.0] * len(candidate))
    assert (seen.orphan_labels, seen.doubled_labels) == (0, 0)


def test_labels_that_are_not_mature_are_not_seen(tmp_path: Path):
    world = World(tmp_path)
    world.profile = world.profile.model_copy(
        update={"data": world.profile.data.model_copy(update={"label_maturity": timedelta(days=2)})}
    )
    world.target = world.again()
    world.target.apply(request("6", 100, None))
    now = world.target.log.observations(["6"], day(0), day(3.6), 1000)
    later = world.target.log.observations(["6"], day(0), day(5.5), 1000)
    assert (len(now), now.label.tolist()) == (A_DAY, [None] * A_DAY)
    assert None not in later.label.tolist()


def test_a_batch_target_without_a_key_is_refused(tmp_path: Path):
    world = World(tmp_path)
    world.profile = world.profile.model_copy(update={"data": world.profile.data.model_copy(update={"key": ()})})
    with pytest.raises(BadInput, match=r"needs data\.key"):
        world.again()


@pytest.mark.parametrize("output", ["out.parquet", "spark:table", "s3://bucket/x", "out/*"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, output: str):
    with pytest.raises(BadInput, match="nothing can be written to"):
        World(tmp_path, output=output)


def test_a_file_that_cannot_be_read_names_itself(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "20260301T000000Z.parquet").write_bytes(b"not parquet")
    with pytest.raises(Unavailable, match="20260301T000000Z"):
        ParquetPartitions(tmp_path / "out", by_version=False).written()
