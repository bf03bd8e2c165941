# pyright: basic
"""Column expressions that every engine behind Ibis understands, and what goes wrong while they run, in our words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tools.adapters.row_digest import FINITE, LARGEST, MILLIONTHS, NULL, SEPARATOR, WHOLE
from tools.errors import BadInput, Unavailable
from tools.masking import masked


@contextmanager
def reading(source: str, *, opening: bool = False) -> Iterator[None]:
    """Turns the engine's faults into ours.

    While a source is being opened, content that cannot be read is the caller's (`BadInput`): not Parquet, not CSV. Later
    the same means that the file broke or went away under us (`Unavailable`); only values that do not fit stay the caller's.
    """
    import duckdb
    from ibis.common.exceptions import IbisError

    theirs = (duckdb.DataError, duckdb.BinderException, IbisError, *((duckdb.ProgrammingError,) if opening else ()))
    try:
        yield
    except theirs as error:
        raise unusable(source, error) from error
    except (duckdb.Error, OSError) as error:
        raise _gone(
            source, error, "check that the file is there, whole and readable, and that the disk is not full"
        ) from error
    except Exception as error:
        # Drivers of other engines are imported only where they are used; they are told by their package.
        if type(error).__module__.partition(".")[0] not in _DRIVERS:
            raise
        raise _gone(source, error, "check that the server answers and the table is still there") from error


_DRIVERS = ("psycopg", "pyspark", "py4j")


def _gone(source: str, error: BaseException, remedy: str) -> Unavailable:
    shown = masked(source)
    return Unavailable(
        f"{shown} could not be read: {_first_line(error)}", thing="data.source", value=shown, remedy=remedy
    )


def utc(name: str, column: Any) -> Any:
    """Any time column as a naive timestamp in UTC, in microseconds.

    Raises:
        BadInput: the column holds numbers or something else that is no time.
    """
    kind = column.type()
    if kind.is_string() or (kind.is_timestamp() and kind.timezone is not None):
        # By way of the zoned type: a plain cast of text drops its offset without a word.
        return column.cast("timestamp('UTC')").cast("timestamp(6)")
    if kind.is_timestamp() or kind.is_date():
        return column.cast("timestamp(6)")
    if kind.is_null():
        return column.cast("timestamp(6)")
    raise no_time(name, str(kind))


def no_time(name: str, kind: str) -> BadInput:
    """A time column holds something else."""
    return BadInput(
        f"the time column {name!r} is of type {kind}",
        thing="data",
        value=name,
        remedy="name a column of timestamps, dates or ISO 8601 text, or convert it: a number does not tell its unit",
    )


def unusable(source: str, why: BaseException) -> BadInput:
    """The content of a source is not what its profile says."""
    shown = masked(source)
    return BadInput(
        f"{shown} cannot be used: {_first_line(why)}",
        thing="data.source",
        value=shown,
        remedy="a Parquet or CSV file whose columns are as the profile's data section says",
    )


def no_nan(column: Any) -> Any:
    """NaN as null; other types as they are."""
    import ibis

    return ibis.ifelse(column.isnan(), ibis.null(), column) if column.type().is_floating() else column


def row_hash(columns: Sequence[Any]) -> Any:
    """See `tools.adapters.row_digest`. Time columns are expected as `utc` gives them.

    Only what every engine computes alike: no `hash`, no `round` (halves go to the even neighbour on some), no float as text.
    """
    texts = [_text(column).fill_null(NULL) for column in columns]
    return _builtin("md5")(_joined(texts))


def _joined(texts: Sequence[Any]) -> Any:
    """By halves: from the left, every step would copy all that came before."""
    if len(texts) == 1:
        return texts[0]
    middle = len(texts) // 2
    return _joined(texts[:middle]) + SEPARATOR + _joined(texts[middle:])


def _text(column: Any) -> Any:
    import ibis

    kind = column.type()
    if kind.is_timestamp() or kind.is_date():
        return _microseconds(utc("", column)).cast("string")
    if kind.is_boolean():
        return ibis.ifelse(column.isnull(), ibis.null("string"), ibis.ifelse(column, "1000000", "0"))
    if kind.is_integer():
        text = column.cast("string")
        return ibis.ifelse(column == 0, text, text + "000000")
    if kind.is_numeric():
        return _millionths(no_nan(column.cast("float64")))
    return column.cast("string").replace("\\", "\\\\").replace(SEPARATOR, f"\\{SEPARATOR}")


def _millionths(number: Any) -> Any:
    """Rounded half away from zero, as a whole number's text."""
    import ibis

    scaled = number * MILLIONTHS
    size = scaled.abs()
    # The engine computes both branches: what is too large for a whole number must not reach the cast.
    if _engine(number) == "duckdb":  # its own rounding is the one meant, and costs a tenth of what follows
        whole = _builtin("round")(scaled)
        small = ibis.ifelse(whole.abs() < WHOLE, whole, ibis.null()).cast("int64").cast("string")
    else:
        fits: Any = ibis.ifelse(size < WHOLE, size, ibis.null())
        below: Any = fits.floor().cast("int64")
        up: Any = ibis.ifelse(fits - below.cast("float64") >= 0.5, 1, 0)
        small = ibis.ifelse(scaled < 0, -(below + up), below + up).cast("string")
    large: Any = ibis.ifelse((size >= WHOLE) & (size < LARGEST), scaled, ibis.null())
    infinite: Any = ibis.ifelse(number.abs() > FINITE, ibis.ifelse(scaled < 0, "-inf", "inf"), ibis.null("string"))
    return ibis.coalesce(small, large.cast("decimal(38, 0)").cast("string"), infinite, number.cast("string"))


def _microseconds(time: Any) -> Any:
    """Since 1970, of a naive time in UTC: the one thing that each engine has a name of its own for."""
    engine = _engine(time)
    if engine == "pyspark":
        return _builtin("unix_micros")(time.cast("timestamp('UTC')"))
    if engine == "duckdb":
        return _builtin("epoch_us")(time)
    return time.truncate("s").epoch_seconds().cast("int64") * 1_000_000 + time.microsecond()


def _engine(column: Any) -> str:
    return column._find_backend(use_default=True).name


@cache
def _builtin(named: str) -> Any:
    """A function that the engine has and Ibis has not."""
    import ibis

    if named == "md5":

        @ibis.udf.scalar.builtin(name="md5")
        def md5(text: str) -> str: ...

        return md5

    if named == "round":

        @ibis.udf.scalar.builtin(name="round")
        def rounded(number: float) -> float: ...

        return rounded

    @ibis.udf.scalar.builtin(name=named)
    def microseconds(time: "datetime") -> int: ...

    return microseconds


def how_many(test: Any) -> Any:
    """Rows for which a test holds; no engine but some casts a boolean to a whole number."""
    import ibis

    one: Any = ibis.ifelse(test.fill_null(False), 1, 0)
    return one.sum()


def naive(time: datetime) -> datetime:
    """A bound as the engine keeps times; a naive one is UTC already."""
    try:
        return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:  # at either end of the calendar the zone makes no difference
        return time.replace(tzinfo=None)


def aware(time: datetime) -> datetime:
    """What the engine gave back, in UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _first_line(error: BaseException) -> str:
    lines = masked(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
