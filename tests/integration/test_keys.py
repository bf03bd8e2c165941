"""`retrain keys` as people and scripts meet it: the token once on stdout, never in a file, never on stderr."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from agent.services import reviews
from agent.services.keys import Keys
from tests.integration.shop import Shop

pytestmark = pytest.mark.slow


def test_key_is_made_used_listed_and_revoked(shop: Shop) -> None:
    shop.profile("prices.keys")
    made = shop.typed(
        "keys", "create", "ci", "--scope", "run", "--scope", "read", "--agent", "--expires", "90d",
        "--model", "prices.keys", "--json",
    )  # fmt: skip
    assert (made.code, made.err) == (0, "")
    created = json.loads(made.out)
    token = created.pop("token")

    keys = Keys(shop.app().deps.store, lambda: datetime.now(UTC))
    caller = keys.authenticate(token)
    assert caller is not None
    assert (caller.name, caller.kind, sorted(caller.scopes), caller.models) == (
        "ci",
        "agent",
        ["read", "run"],
        frozenset({"prices.keys"}),
    )
    left = datetime.fromisoformat(created["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=89) < left < timedelta(days=90)

    listed = shop.typed("keys", "list")
    assert ("ci" in listed.out, "read, run of prices.keys" in listed.out, token in listed.out) == (True, True, False)
    assert created["createdBy"] == reviews.os_user()

    assert shop.typed("keys", "revoke", "ci").code == 0
    assert keys.authenticate(token) is None
    assert "no keys" in shop.typed("keys", "list").out
    secret = token.rpartition("_")[2].encode()
    assert not [file for file in shop.folder.rglob("*") if file.is_file() and secret in file.read_bytes()]


def test_token_is_all_that_a_script_has_to_read(shop: Shop) -> None:
    made = shop.typed("keys", "create", reviews.os_user(), "--scope", "review")

    told, token = made.out.strip().rsplit("\n", 1)

    assert token.startswith("rk_")
    assert "shown this once" in told
    assert token not in made.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("bot", "--scope", "review", "--agent"), 5, "scope review"),
        (("bot", "--scope", "write"), 2, "no scope"),
        (("bot", "--scope", "read", "--model", "no.such"), 3, "no.such"),
        (("bot", "--scope", "read", "--expires", "soon"), 2, "soon"),
        (("root" if reviews.os_user() != "root" else "daemon", "--scope", "review"), 5, "another user of this machine"),
    ],
)
def test_key_that_must_not_be_is_refused_in_one_clear_message(
    shop: Shop, arguments: tuple[str, ...], code: int, said: str
) -> None:
    shop.profile("prices.keys")

    done = shop.typed("keys", "create", *arguments)

    assert (done.code, done.out, "Traceback" in done.err) == (code, "", False)
    assert said in done.err
