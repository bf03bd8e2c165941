"""Do the groups of a ranking's holdout judge anybody?

A group is the rows of one query or session. One that has rows before the holdout or behind it was torn by the cut and is left out,
whole: what is left of it would be another query. More than half of them torn means that `data.group` names something that comes again
(a user, a text), and blocks. Rows of no group are left out; more of them than the profile accepts as nulls block.
"""

from collections.abc import Iterator
from typing import Final

from tools.contracts.evidence import Check, HoldoutGroups
from tools.contracts.profile import ValidationSpec

MOST_TORN: Final = 0.5
MANY_TORN: Final = 0.05
"""Beyond this share it is told: a cut tears the few groups that happen to lie on it."""


def group_checks(
    *, fold: str, groups: HoldoutGroups, rows: int, group: str, target: str, spec: ValidationSpec
) -> Iterator[Check]:
    """What is wrong with the groups and with the relevances of one holdout.

    Args:
        fold: the holdout in words, e.g. `holdout` or `holdout 2`.
        groups: as counted when it was cut.
        rows: rows kept.
        group: column of the groups.
        target: column of the relevances.
        spec: names the share of rows without a group that is accepted.
    """
    whole = groups.groups + groups.torn
    torn = groups.torn / max(whole, 1)
    yield Check(
        name="groups",
        subject=f"torn in the {fold}",
        result="pass" if torn <= MANY_TORN else "fail",
        severity="block" if torn > MOST_TORN else "warn",
        value=torn,
        threshold=MOST_TORN,
        n=whole,
        counts={"groups": groups.groups, "torn": groups.torn, "rows": groups.torn_rows},
        statement=f"{groups.torn:,} of {whole:,} groups of the {fold} have rows outside of it too"
        + (f" and are left out whole, {groups.torn_rows:,} rows" if groups.torn else "")
        + (f": {group} must name one query or session, not what comes again." if torn > MOST_TORN else "."),
    )
    everything = rows + groups.torn_rows + groups.rows_without_group
    lone = groups.rows_without_group / max(everything, 1)
    yield Check(
        name="groups",
        subject=f"{group} in the {fold}",
        result="pass" if groups.rows_without_group == 0 else "fail",
        severity="block" if lone > spec.max_null_increase else "warn",
        value=lone,
        threshold=spec.max_null_increase,
        n=everything,
        counts={"rows": everything, "null": groups.rows_without_group},
        statement=f"{groups.rows_without_group:,} of {everything:,} rows of the {fold} have no {group}"
        + (f" and are left out ({spec.max_null_increase:.0%} is accepted)." if groups.rows_without_group else "."),
    )
    unlike = groups.negative_rows + groups.not_numbers
    yield Check(
        name="relevance",
        subject=f"{target} in the {fold}",
        result="fail" if unlike or not groups.telling else "pass",
        value=float(groups.telling),
        threshold=1.0,
        n=groups.groups,
        counts={
            "groups": groups.groups,
            "telling": groups.telling,
            "single": groups.single,
            "irrelevant": groups.irrelevant,
            "negative": groups.negative_rows,
            "not_numbers": groups.not_numbers,
        },
        statement=_relevance(groups, target, fold),
    )


def _relevance(groups: HoldoutGroups, target: str, fold: str) -> str:
    if groups.not_numbers:
        return f"{groups.not_numbers:,} values of {target} in the {fold} are no finite numbers: a relevance is a number from 0."
    if groups.negative_rows:
        return f"{groups.negative_rows:,} values of {target} in the {fold} lie below 0: a relevance is a number from 0."
    equal = groups.groups - groups.telling - groups.single - groups.irrelevant
    others = f"{groups.single:,} have one row, {groups.irrelevant:,} nothing relevant, {equal:,} rows of one relevance"
    told = f"{groups.telling:,} of {groups.groups:,} groups of the {fold} have rows that differ in relevance"
    return f"{told} ({others})" + (
        "." if groups.telling else ": no order of rows is better than another, which judges nobody."
    )
