# pyright: basic
"""API keys in SQL: the part of `SqlStore` that knows who may come in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tools.adapters import store_rules as rules
from tools.contracts.access import ApiKey


class SqlKeys:
    """Keys by id and by name. See `tools.ports.Store` for what each method promises."""

    _sa: Any
    _t: Any
    _errors: Any
    _transaction: Any
    _locked: Any

    def add_key(self, key: ApiKey) -> ApiKey:
        keys, name = self._t.KEYS, rules.folded(key.name)
        row = {"key_id": key.id, "name": name, "live_name": name, "record": key.to_state()}
        with self._transaction() as c:
            query = self._sa.select(keys.c.record).where(keys.c.name == name)
            rules.require_new_name([ApiKey.model_validate(each) for each in c.execute(query).scalars()], key)
            try:
                with c.begin_nested():
                    c.execute(keys.insert().values(row))
            except self._errors.IntegrityError as error:
                raise rules.name_taken(key.name) from error
        return key

    def get_key(self, key_id: str) -> ApiKey | None:
        keys = self._t.KEYS
        with self._transaction() as c:
            found = c.execute(self._sa.select(keys.c.record).where(keys.c.key_id == key_id)).scalar()
        return None if found is None else ApiKey.model_validate(found)

    def list_keys(self) -> Sequence[ApiKey]:
        keys = self._t.KEYS
        with self._transaction() as c:
            found = c.execute(self._sa.select(keys.c.record).order_by(keys.c.number)).scalars()
            return [ApiKey.model_validate(each) for each in found]

    def revoke_key(self, name: str, by: str, at: datetime) -> ApiKey:
        keys = self._t.KEYS
        mine = keys.c.live_name == rules.folded(name)
        with self._transaction() as c:
            found = c.execute(self._locked(self._sa.select(keys.c.record).where(mine))).scalar()
            ended = rules.revoked(None if found is None else ApiKey.model_validate(found), name, by, at)
            c.execute(keys.update().where(mine).values(live_name=None, record=ended.to_state()))
        return ended

    def use_key(self, key_id: str, at: datetime) -> None:
        keys = self._t.KEYS
        mine = keys.c.key_id == key_id
        with self._transaction() as c:
            # Locked: a revocation at the same moment must not be written over.
            found = c.execute(self._locked(self._sa.select(keys.c.record).where(mine))).scalar()
            if found is not None:
                used = rules.used(ApiKey.model_validate(found), at)
                c.execute(keys.update().where(mine).values(record=used.to_state()))
