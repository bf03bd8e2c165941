"""The frontier of safety against review, as a picture and as rows."""

from pathlib import Path

from evals.decisions.gate_rows import Frontier
from evals.report import Row


def frontier_rows(found: Frontier) -> list[Row]:
    """Three rows a point; the numbers behind the picture."""
    return [
        Row(f"frontier, {name}: {told}", value)
        for name, bad, asked, moved in found
        for told, value in (("bad deployed", bad), ("good sent to a person", asked), ("good deployed or canary", moved))
    ]


def draw(found: Frontier, to: Path) -> None:
    """Bad deployed against good sent to a person, and against good that does not move at all; format by the file's ending."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    marks = "sD^vP*X"
    for axes, title, value in (
        (panels[0], "good candidates sent to a person", lambda p: p[2]),
        (panels[1], "good candidates not deployed", lambda p: 1 - p[3]),
    ):
        for knob, colour in (("confidence", "tab:blue"), ("gain", "tab:green")):
            mine = [p for p in found if p[0].startswith(f"{knob} ")]
            axes.plot([p[1] for p in mine], [value(p) for p in mine], "o-", color=colour, label=f"our gate, by {knob}")
            for point in mine:
                axes.annotate(
                    point[0].split(" ")[1],
                    (point[1], value(point)),
                    fontsize=7,
                    xytext=(3, 3),
                    textcoords="offset points",
                )
        others = [p for p in found if not p[0].startswith(("confidence ", "gain "))]
        for mark, point in zip(marks, others, strict=False):
            axes.plot([point[1]], [value(point)], mark, markersize=8, label=point[0])
        axes.set(xlabel="bad candidates deployed", ylabel=title, xlim=(-0.02, None), ylim=(-0.05, 1.05))
        axes.axvline(0.01, color="grey", linewidth=0.8, linestyle=":")
    panels[0].axhline(0.25, color="grey", linewidth=0.8, linestyle=":")
    panels[1].legend(fontsize=8)
    figure.suptitle("Safety against review (power at least 0.9; dotted: targets)")
    figure.savefig(to, dpi=130)
