# pyright: basic
"""Tables of the run store: portable types only, times as ISO text in UTC (they sort as they pass)."""

import json
from typing import Any

from sqlalchemy import JSON, Column, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()
SCHEMA = 1

META = Table(
    "retraining_meta", METADATA, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
RUNS = Table(
    "retraining_runs",
    METADATA,
    Column("run_id", String(64), primary_key=True),
    Column("model_id", String(255), nullable=False, index=True),
    Column("idempotency_key", String(255)),
    Column("created_at", String(40), nullable=False, index=True),
    Column("record", JSON, nullable=False),
    UniqueConstraint("idempotency_key", name="retraining_runs_key"),
)
LEASES = Table(
    "retraining_leases",
    METADATA,
    Column("model_name", String(255), primary_key=True),
    Column("token", Integer, nullable=False),
    Column("run_id", String(64)),
    Column("holder", String(255)),
    Column("since", String(40)),
    Column("expires_at", String(40)),
)
EFFECTS = Table(
    "retraining_effects",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False, unique=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
REVIEWS = Table(
    "retraining_reviews",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, index=True),
    Column("model_id", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("record", JSON, nullable=False),
)
HOLDS = Table(
    "retraining_holds",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    # Empty once released: of each scope one hold is in force, and the others stay on record.
    Column("held_scope", String(400), unique=True),
    Column("record", JSON, nullable=False),
)
KEYS = Table(
    "retraining_keys",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key_id", String(32), nullable=False, unique=True),
    Column("name", String(64), nullable=False, index=True),
    # The name without regard to case; empty once revoked, so that of each name one key is good.
    Column("live_name", String(64), unique=True),
    Column("record", JSON, nullable=False),
)
LOOKS = Table(
    "retraining_looks",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(64), nullable=False, unique=True),
    Column("model_name", String(255), nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
CHAMPIONS = Table(
    "retraining_champions",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("model_name", String(255), nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
WATCHED = Table(
    "retraining_watched",
    METADATA,
    Column("model_id", String(255), primary_key=True),
    # Grows with each settled evaluation: who was slow is refused.
    Column("version", Integer, nullable=False),
    Column("next_at", String(40), index=True),
    Column("priority", Integer, nullable=False),
    Column("stamp", Text, nullable=False),
    Column("claimed_by", String(255)),
    # Apart from the rest: what is said from outside must not get lost while the model is evaluated.
    Column("claims", JSON, nullable=False),
    Column("record", JSON, nullable=False),
)
EVALUATIONS = Table(
    "retraining_evaluations",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("model_id", String(255), nullable=False, index=True),
    Column("record", JSON, nullable=False),
)
FIRINGS = Table(
    "retraining_firings",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False, unique=True),
    Column("model_id", String(255), nullable=False, index=True),
    Column("status", String(16), nullable=False, index=True),
    Column("priority", Integer, nullable=False),
    Column("at", String(40), nullable=False),
    Column("not_before", String(40)),
    Column("claimed_by", String(255)),
    Column("record", JSON, nullable=False),
)
WATCHERS = Table(
    "retraining_watchers",
    METADATA,
    Column("holder", String(255), primary_key=True),
    Column("beat_at", String(40), nullable=False),
    Column("ended", Integer, nullable=False),
    Column("record", JSON, nullable=False),
)
NONCES = Table(
    "retraining_nonces",
    METADATA,
    Column("nonce", String(128), primary_key=True),
    Column("until", String(40), nullable=False, index=True),
)
ALERTS = Table(
    "retraining_alerts",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False, unique=True),
    Column("sent", Integer, nullable=False, index=True),
    Column("record", JSON, nullable=False),
)


def spelled(value: Any) -> str:
    """A record as JSON. A NUL, or half a character, becomes U+FFFD: PostgreSQL would answer no query that looks into such a record,
    nor into any other one beside it."""
    text = json.dumps(value)
    return json.dumps(_plain(value)) if "\\u0000" in text or "\\ud" in text else text


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_plain(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
