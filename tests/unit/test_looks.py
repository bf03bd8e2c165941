"""What of a check counts for a trigger, and when is a source known not to have changed?"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.services.check import Checked
from agent.services.looks import fingerprint, observed
from tests.graph.world import make_world
from tools.alerts import Alert
from tools.contracts.evidence import Signal, StalenessReport, TriggerVerdict
from tools.contracts.run import ChampionEvent
from tools.contracts.when import WhenVerdict

LOSS = Signal(rule="performance", outcome="bad", statement="accuracy fell.")
MOVED = Signal(rule="drift", subject="data set", outcome="bad", statement="It moved.")


def checked(
    verdict: Any, *signals: Signal, code: str = "stale", recommendation: Any = "retrain", when: Any = None
) -> Checked:
    report = StalenessReport(
        verdict=verdict, signals=signals, recommendation=recommendation, statement="So it is.", when=when
    )
    trigger = TriggerVerdict(proceed=code == "stale", insists=False, code=code, statement="")
    return Checked(staleness=report, trigger=trigger, alert=Alert(level="none"))


def weighed(action: Any, basis: Any) -> WhenVerdict:
    return WhenVerdict(action=action, strategy="expected_cost", basis=basis, statement="It costs more than it saves.")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (checked("stale", MOVED), ("drift", True, "stale")),
        (checked("stale", LOSS, MOVED), ("performance", True, "stale")),
        (checked("fresh", code="fresh"), ("drift", False, "fresh")),
        (checked("could_not_measure", code="could_not_measure"), ("drift", None, "could_not_measure")),
        (checked("stale", MOVED, code="fix_data"), ("drift", None, "fix_data")),
        # A run that ended shortly before changes nothing of what was found.
        (checked("stale", MOVED, code="cool_down"), ("drift", True, "stale")),
        (checked("stale", LOSS, code="roll_back_instead", recommendation="roll_back"), ("performance", True, "stale")),
        (checked("stale", MOVED, when=weighed("keep_watching", "history")), ("drift", False, "not_worth_it")),
        (checked("stale", MOVED, when=weighed("wait_for_labels", "evidence")), ("drift", False, "not_worth_it")),
        (checked("stale", MOVED, when=weighed("keep_watching", "schedule")), ("drift", True, "stale")),
        (checked("stale", MOVED, when=weighed("retrain", "history")), ("drift", True, "stale")),
    ],
)
def test_check_becomes_what_counts_for_a_trigger(given: Checked, found: tuple[str, bool | None, str]) -> None:
    seen = observed(given)
    assert (seen.kind, seen.stale, seen.code) == found


def test_fingerprint_changes_with_file_champion_and_profile_and_not_without(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_bytes(b"one")
    world = make_world(tmp_path, champion=False)
    profile = world.deps.load_profile("prices")
    first = fingerprint(world.deps, profile, "s1")
    assert first
    assert fingerprint(world.deps, profile, "s1") == first
    assert fingerprint(world.deps, profile, "s2") != first
    event = {
        "model_name": profile.registered_model,
        "previous": None,
        "how": "deployed",
        "run_id": None,
        "by": "policy",
    }
    world.store.record_champion(ChampionEvent.model_validate(event | {"version": "2", "at": datetime.now(UTC)}))
    second = fingerprint(world.deps, profile, "s1")
    assert second != first
    rows.write_bytes(b"two and more")
    assert fingerprint(world.deps, profile, "s1") != second


@pytest.mark.parametrize("source", ["gone.parquet", "postgresql://u:${P}@h/db#t", "spark:t", "nothing-*.parquet"])
def test_source_without_files_has_no_fingerprint_and_is_always_looked_at(tmp_path: Path, source: str) -> None:
    world = make_world(tmp_path, champion=False)
    data = world.profile["data"] | {"source": source}
    world.profile["data"] = data
    assert fingerprint(world.deps, world.deps.load_profile("prices"), "s1") == ""


def test_folder_and_glob_are_known_by_all_their_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.parquet").write_bytes(b"a")
    world = make_world(tmp_path, champion=False)
    for source in ("parts", "parts/*.parquet"):
        world.profile["data"] = world.profile["data"] | {"source": source}
        profile = world.deps.load_profile("prices")
        before = fingerprint(world.deps, profile, "s1")
        new = tmp_path / "parts" / f"{len(source)}.parquet"
        new.write_bytes(b"b")
        assert fingerprint(world.deps, profile, "s1") != before
