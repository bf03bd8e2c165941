"""How is evidence drawn? Small SVG pictures of contracts, as text: no script, no font, nothing from outside.

Every picture is drawn for a width in pixels, so that its letters keep their size on a phone. Colours come from classes that
`STYLE` defines for light, dark and paper; a verdict is never told by colour alone.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from tools.contracts.comparison import Criterion, MetricComparison
from tools.contracts.figures import Calibration, ErrorBin, ErrorOverTime

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#566174;--faint:#dfe4ea;--paper:#fff;--panel:#f5f7f9;--good:#11703b;
--fine:#0b6f83;--bad:#b3261e;--open:#8a5a00;--none:#5f6773;--zone:#e3f3e9;--old:#6b7686;--new:#1558c0}
@media (prefers-color-scheme:dark){:root{--ink:#e7ebf0;--soft:#a3adba;--faint:#38414d;--paper:#14181d;--panel:#1d232a;
--good:#5fce8f;--fine:#5cc6da;--bad:#ff8a80;--open:#f0b54a;--none:#a3adba;--zone:#1d3527;--old:#a3adba;--new:#7fb2ff}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--faint:#ccc;--paper:#fff;--panel:#fff;--good:#11703b;
--fine:#0b6f83;--bad:#b3261e;--open:#8a5a00;--none:#555;--zone:#e3f3e9;--old:#666;--new:#1558c0}}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)} svg .soft{fill:var(--soft)} svg .strong{font-weight:600}
svg .bg{fill:var(--paper)} svg .zone{fill:var(--zone)} svg .axis{stroke:var(--faint);fill:none}
svg .zero{stroke:var(--soft);stroke-dasharray:3 3} svg .bar{stroke:var(--ink);stroke-width:1.5}
svg .improved{stroke:var(--good);fill:var(--good)} svg .non_inferior{stroke:var(--fine);fill:var(--fine)}
svg .regressed{stroke:var(--bad);fill:var(--bad)} svg .inconclusive{stroke:var(--open);fill:var(--open)}
svg .no_data{stroke:var(--none);fill:var(--none)} svg .thick{stroke-width:4;stroke-linecap:round} svg text.improved,
svg text.non_inferior,svg text.regressed,svg text.inconclusive,svg text.no_data{stroke:none;font-weight:600}
svg .champion{stroke:var(--old);fill:var(--paper)} svg .candidate{stroke:var(--new);fill:var(--new)}
svg polyline{fill:none!important;stroke-width:2} svg polyline.champion{stroke-dasharray:6 3} svg .count{fill:var(--faint)}
"""
"""Colours and letters of pictures and page."""

VERDICT_WORDS: Final = {
    "improved": "▲ improved",
    "non_inferior": "= non-inferior",
    "regressed": "▼ regressed",
    "inconclusive": "? inconclusive",
    "no_data": "– no data",
}
ROW_HEIGHT: Final = 58


def safe(text: object) -> str:
    """Text for HTML and XML: escaped, without control characters and lone surrogates."""
    return escape("".join(c if c in "\n\t" or c.isprintable() else "�" for c in str(text)), quote=True)


def shortened(text: str, most: int) -> str:
    """At most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def amount(value: float, criterion: Criterion) -> str:
    """A signed change in the criterion's unit."""
    return f"{value:+.2%}" if criterion.unit == "relative" else f"{value:+.4g}"


def bar_words(criterion: Criterion) -> str:
    """Where the verdict turns, in words."""
    if criterion.must_gain:
        return f"asked {amount(criterion.min_improvement, criterion)}"
    return f"limit {amount(-criterion.margin, criterion)}"


def inline(width: float, height: float, body: str, label: str, kind: str = "") -> str:
    """A picture as part of a page."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{safe(label)}" '
        f'style="max-width:{width:g}px">{body}</svg>'
    )


def standalone(width: float, height: float, body: str, title: str) -> str:
    """A picture as a file of its own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
        f'role="img"><title>{safe(title)}</title><style>{STYLE}</style><rect class="bg" width="100%" height="100%"/>'
        f"{body}</svg>\n"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{safe(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


# --- intervals -----------------------------------------------------------------------------------------------------


def span(items: Sequence[MetricComparison]) -> tuple[float, float]:
    """A scale on which no change, the bars and all intervals can be seen."""
    values = [0.0]
    for item in items:
        values += [item.criterion.bar, *(v for v in (item.low, item.high, item.change) if v is not None)]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or max(abs(high), 1e-9) * 0.5
    return low - pad, high + pad


def interval(item: MetricComparison, width: float, scale: tuple[float, float] | None = None) -> str:
    """Dot and interval of one change, no change (dashed), the bar (line) and the side of it that is good (shaded)."""
    if item.change is None or item.low is None or item.high is None:
        return text(4, 34, "not measured: nothing to draw", "soft")
    low, high = span([item]) if scale is None else scale

    def at(value: float) -> float:
        return 4 + (value - low) / (high - low) * (width - 8)

    bar, zero, middle = at(item.criterion.bar), at(0.0), 30
    words = bar_words(item.criterion)
    left = bar > width * 0.62
    parts = [
        f'<rect class="zone" x="{bar:.1f}" y="18" width="{max(0.0, width - 4 - bar):.1f}" height="24"/>',
        line(4, middle, width - 4, middle, "axis"),
        line(zero, 16, zero, 44, "zero"),
        text(min(max(zero, 8), width - 8), 55, "0", "soft", "middle"),
        line(bar, 14, bar, 44, "bar"),
        text(bar + (-4 if left else 4) if abs(bar - 4) > 1 else 6, 11, words, "soft", "end" if left else "start"),
        line(at(item.low), middle, at(item.high), middle, f"{item.verdict} thick"),
        f'<circle cx="{at(item.change):.1f}" cy="{middle}" r="5.5" class="{item.verdict}"/>',
    ]
    return "".join(parts)


def interval_label(item: MetricComparison) -> str:
    """The picture in words."""
    return f"{item.criterion.about}: {item.verdict.replace('_', ' ')}. {item.statement}"


def interval_file(items: Sequence[MetricComparison], title: str, *, shared: bool) -> str:
    """All rows below each other as a file; `shared`: on one scale."""
    names, drawn, words = 250, 420, 120
    width, height = names + drawn + words + 40, 52 + ROW_HEIGHT * max(1, len(items))
    scale = span(items) if shared and items else None
    parts = [
        text(12, 22, title, "strong"),
        text(12, 40, "Change for the better, with its interval; shaded: where it is good enough.", "soft"),
    ]
    for number, item in enumerate(items):
        top = 48 + number * ROW_HEIGHT
        parts += [
            f'<g transform="translate(12 {top})"><title>{safe(item.statement)}</title>',
            text(0, 34, shortened(item.criterion.about, 36)),
            f'<g transform="translate({names} 0)">{interval(item, drawn, scale)}</g>',
            text(names + drawn + 12, 34, VERDICT_WORDS[item.verdict], item.verdict),
            "</g>",
        ]
    if not items:
        parts.append(text(12, 82, "There is none.", "soft"))
    return standalone(width, height, "".join(parts), title)


# --- calibration ---------------------------------------------------------------------------------------------------


def calibration(found: Calibration, width: float) -> tuple[float, str]:
    """(height, picture): stated probability against what came true; on the diagonal a model means what it says."""
    left, top, bottom = 44.0, 34.0, 40.0
    side = width - left - 14
    height = top + side + bottom
    points = [point for curve in found.curves for point in curve.bins]
    most = max((max(point.stated, point.high) for point in points), default=1.0)
    # A rare event's probabilities would all lie in one corner of a whole scale.
    end = next((one for one in (0.02, 0.05, 0.1, 0.2, 0.5) if most <= one), 1.0)

    def x(value: float) -> float:
        return left + value / end * side

    def y(value: float) -> float:
        return top + side - value / end * side

    parts = [line(x(0), y(0), x(end), y(end), "zero")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        share = tick * end
        parts += [
            line(left, y(share), left + side, y(share), "axis"),
            text(left - 6, y(share) + 4, f"{share:g}", "soft", "end"),
            text(x(share), top + side + 16, f"{share:g}", "soft", "middle"),
        ]
    parts.append(text(left + side / 2, height - 6, "stated probability", "soft", "middle"))
    parts.append(text(4, 12, "share that came true", "soft"))
    for curve in found.curves:
        shown = [(x(point.stated), y(point.observed), point) for point in curve.bins]
        parts.append(_path([(px, py) for px, py, _ in shown], curve.side))
        for px, py, point in shown:
            parts.append(line(px, y(point.low), px, y(point.high), curve.side))
            said = f"{curve.side}: stated {point.stated:.3f}, came true {point.observed:.3f}, {point.n:,} rows"
            parts.append(_mark(px, py, curve.side, said))
    parts.append(_legend(left, 28, [curve.side for curve in found.curves]))
    return height, "".join(parts)


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _mark(x: float, y: float, kind: str, said: str) -> str:
    """A square for the champion, a dot for the candidate: they can be told apart without colour."""
    tip = f"<title>{safe(said)}</title>"
    if kind == "champion":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" class="champion">{tip}</rect>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="candidate">{tip}</circle>'


def _legend(x: float, y: float, sides: Sequence[str]) -> str:
    parts: list[str] = []
    for number, side in enumerate(sides):
        here = x + number * 100
        parts += [_mark(here + 6, y - 4, side, side), text(here + 16, y, side)]
    return "".join(parts)


# --- error over time -----------------------------------------------------------------------------------------------


def error_over_time(found: ErrorOverTime, width: float) -> tuple[float, str]:
    """(height, picture): both models' mean error stretch by stretch, and below it how many rows that rests on."""
    left, right, top, drawn, counts = 52.0, 12.0, 40.0, 170.0, 34.0
    height = top + drawn + 16 + counts + 26
    room = (width - left - right) / len(found.bins)
    values = [v for one in found.bins for v in (one.champion, one.candidate) if v is not None]
    ticks = _ticks(min(values, default=0.0), max(values, default=1.0))

    def y(value: float) -> float:
        return top + drawn - (value - ticks[0]) / (ticks[-1] - ticks[0]) * drawn

    parts = [text(4, 12, f"{found.error}, lower is better", "soft"), _legend(left, 30, ("champion", "candidate"))]
    for tick in ticks:
        parts += [
            line(left, y(tick), width - right, y(tick), "axis"),
            text(left - 6, y(tick) + 4, f"{tick:.4g}", "soft", "end"),
        ]
    most, floor = max(one.n for one in found.bins), top + drawn + 16 + counts
    for number, one in enumerate(found.bins):
        tall = counts * one.n / most if most else 0.0
        tip = safe(f"{_when(one.start, one)}: {one.n:,} of {one.rows:,} rows")
        parts.append(
            f'<rect class="count" x="{left + number * room + 0.5:.1f}" y="{floor - tall:.1f}" '
            f'width="{max(room - 1, 0.5):.1f}" height="{tall:.1f}"><title>{tip}</title></rect>'
        )
    parts.append(text(left - 6, floor, f"≤{most:,}", "soft", "end"))
    parts.append(text(left - 6, floor - 14, "rows", "soft", "end"))
    for side in ("champion", "candidate"):
        run: list[tuple[float, float]] = []
        marks: list[str] = []
        for number, one in enumerate(found.bins):
            value = one.champion if side == "champion" else one.candidate
            if value is None:  # a gap stays a gap
                parts.append(_path(run, side))
                run = []
                continue
            place = (left + (number + 0.5) * room, y(value))
            run.append(place)
            marks.append(_mark(*place, side, f"{side} {_when(one.start, one)}: {value:.4g} on {one.n:,} rows"))
        parts += [_path(run, side), *marks]
    parts.append(_dates(found.bins, left, room, height - 6, most=max(2, int(width // 180))))
    return height, "".join(parts)


def _dates(bins: Sequence[ErrorBin], left: float, room: float, y: float, most: int) -> str:
    last = len(bins) - 1
    places = sorted({round(number * last / max(1, most - 1)) for number in range(most)})
    anchors = {0: "start", last: "end"} if last else {0: "start"}
    return "".join(
        text(
            left + (place + (0 if place == 0 else 1 if place == last else 0.5)) * room,
            y,
            _when(bins[place].start, bins[place]),
            "soft",
            anchors.get(place, "middle"),
        )
        for place in places
    )


def _when(time: datetime, one: ErrorBin) -> str:
    return f"{time:%Y-%m-%d}" if one.end - one.start >= timedelta(days=1) else f"{time:%m-%d %H:%M}"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around [low, high]; from 0 unless all values lie far above it."""
    if low > 0 and low < 0.6 * high:
        low = 0.0
    if high <= low:
        high = low + (abs(low) or 1.0) * 0.5
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    first, count = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(count, first + 1) + 1)]
