"""Plots as inline SVG that takes its colours from the page, so that it fits light and dark."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from headrace.report.facts import Category, Feature, Grid, RunFacts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stand for the page's own: matplotlib writes them, the page's variables replace them.
TEXT, LINE, BAR, ACCENT = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {TEXT: "currentColor", LINE: "var(--line)", BAR: "var(--bar)", ACCENT: "var(--accent)"}
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a name with dollar signs is a name
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's own font
    "svg.hashsalt": "headrace",  # ids, and so the page, depend on the facts alone
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}
_WIDTH = 5.0  # inches; at 72 units an inch about the width of a phone
_LONGEST = 32


@dataclass(frozen=True)
class Plot:
    """One picture: what it shows, for everybody, and its SVG element."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Point:
    """A labelled value in a plot, its standard deviation if there is one, and whether it is the best."""

    label: str
    value: float
    spread: float | None
    best: bool


def plots(run: RunFacts) -> list[Plot]:
    """The plots these facts allow, in reading order. Imports matplotlib, which takes a moment the first time."""
    with styled():
        made = [_category(run, category) for category in run.categories if category.counts]
        if run.grid is not None and run.grid.counts:
            made.append(_grid(run, run.grid))
        if len(run.inertia_by_k) > 1:
            made.append(_inertia(run))
        if not run.categories:
            made += [_histogram(run, feature) for feature in run.features if feature.histogram]
        if run.rows is not None or run.rows_read is not None:
            made.append(_quality(run))
    return made


def ranked(title: str, unit: str, points: Sequence[Point], caption: str) -> Plot:
    """A value with its spread for each label, the first on top, one of them the best."""
    with styled():
        figure, axes = drawing(0.8 + 0.3 * len(points))
        for place, point in zip(range(len(points))[::-1], points, strict=True):
            colour, size = (ACCENT, 8) if point.best else (BAR, 5)
            axes.errorbar(point.value, place, xerr=point.spread, color=colour, marker="o", markersize=size, capsize=3)
        axes.set_yticks(range(len(points))[::-1], [shown(point.label) for point in points])
        axes.set_xlabel(shown(unit))
        axes.margins(x=0.08, y=0.6 / len(points))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        return Plot(title, element(figure, title), caption)


def drawn_bars(axes: Axes, edges: Sequence[float], counts: Sequence[int]) -> None:
    """A bar between every two edges."""
    widths = [end - start or 1.0 for start, end in pairwise(edges)]
    axes.bar(edges[:-1], counts, width=widths, align="edge", color=BAR, edgecolor="none")
    axes.xaxis.set_major_formatter(lambda value, _: _brief(value))
    axes.grid(axis="y")
    axes.tick_params(length=0)


def counted(title: str, unit: str, counts: Mapping[str, int], caption: str = "") -> Plot:
    """A bar with its number for each label, the first on top."""
    with styled():
        return Plot(title, _bars(list(counts), list(counts.values()), unit), caption)


@contextmanager
def styled() -> Iterator[None]:
    """What pictures of this page have in common, while they are drawn."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Text stays text, so a letter that matplotlib's own font lacks is the reader's font's business.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def shown(text: str) -> str:
    """A label that fits and holds nothing a terminal or a drawing could take for more than text.

    >>> shown("a" * 40)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…'
    """
    plain = "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cs", "Cn") else letter for letter in text)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def _category(run: RunFacts, category: Category) -> Plot:
    title = f"{run.noun.capitalize()} per {category.name.replace('_', ' ')}"
    values, counts = list(category.counts), list(category.counts.values())
    if category.kind == "name":
        return Plot(title, _bars(values, counts, run.noun))
    figure, axes = drawing(2.6)
    drawn = axes.bar(range(len(counts)), counts, width=0.7, color=BAR)
    axes.bar_label(drawn, labels=[f"{n:,}" for n in counts], padding=2)
    axes.set_xticks(range(len(counts)), [shown(value) for value in values])
    axes.set_xlabel(shown(category.name.replace("_", " ")))
    axes.set_ylabel(shown(run.noun))
    axes.margins(y=0.12)
    whole_numbers(axes.yaxis)
    axes.tick_params(length=0)
    return Plot(title, element(figure, title))


def _bars(labels: Sequence[str], counts: Sequence[int], unit: str, colours: Sequence[str] | None = None) -> str:
    """Horizontal bars with their counts, the first on top."""
    figure, axes = drawing(0.5 + 0.27 * len(labels))
    places = list(range(len(labels)))[::-1]
    drawn = axes.barh(places, counts, height=0.7, color=colours or BAR)
    axes.bar_label(drawn, labels=[f"{n:,}" for n in counts], padding=3)
    axes.set_yticks(places, [shown(label) for label in labels])
    axes.set_xlabel(shown(unit))
    axes.margins(x=0.16, y=0.02)
    axes.set_xticks([])  # every bar says its number
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    return element(figure, unit + "".join(labels))


def _grid(run: RunFacts, grid: Grid) -> Plot:
    import numpy as np

    row, column = (_score_name(name) for name in (grid.row, grid.column))
    counts = np.array(grid.counts, dtype=float)
    figure, axes = drawing(3.6)
    mesh = axes.pcolormesh(np.ma.masked_equal(counts, 0), cmap="cividis", vmin=0, edgecolors="none")
    for (r, c), count in np.ndenumerate(counts):
        if count:
            red, green, blue, _ = mesh.to_rgba(count)
            ink = "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "#000000"
            mean = grid.means[r][c] if grid.means else None
            text = f"{int(count):,}" + ("" if mean is None else f"\n{_brief(mean)}")
            axes.text(c + 0.5, r + 0.5, text, color=ink, ha="center", va="center", fontsize=9)
    axes.set_xticks(np.arange(len(grid.column_values)) + 0.5, [str(value) for value in grid.column_values])
    axes.set_yticks(np.arange(len(grid.row_values)) + 0.5, [str(value) for value in grid.row_values])
    axes.set_xlabel(f"{column} score")
    axes.set_ylabel(f"{row} score")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    caption = f"Top: {run.noun} with these scores, which also give the colour (light is many)."
    if grid.measure:
        caption += f" Below: their mean {grid.measure}."
    title = f"{run.noun.capitalize()} by {row} and {column}"
    return Plot(title, element(figure, title), caption)


def _inertia(run: RunFacts) -> Plot:
    figure, axes = drawing(2.6)
    ks, inertia = zip(*run.inertia_by_k, strict=True)
    axes.plot(ks, inertia, color=BAR, marker="o", markersize=4)
    k = len(run.centres.rows) if run.centres else None
    if k is not None and k in ks:
        value = inertia[ks.index(k)]
        axes.plot([k], [value], color=ACCENT, marker="o", markersize=8, linestyle="none")
        axes.annotate(f"k = {k}", (k, value), xytext=(6, 8), textcoords="offset points")
    axes.set_xticks(ks)
    axes.set_xlabel("clusters k")
    axes.set_ylabel("inertia")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.tick_params(length=0)
    title = "Inertia over k"
    return Plot(
        title, element(figure, title), "Sum of squared scaled distances to the nearest centre; less is tighter."
    )


def _histogram(run: RunFacts, feature: Feature) -> Plot:
    assert feature.histogram is not None  # noqa: S101 - only called for those that have one
    held = feature.histogram
    figure, axes = drawing(2.3)
    drawn_bars(axes, held.edges, held.counts)
    axes.set_xlabel(shown(feature.name.replace("_", " ")))
    axes.set_ylabel(shown(run.noun))
    whole_numbers(axes.yaxis)
    caption = f"The last bar also holds the {held.beyond:,} above {_brief(held.edges[-1])}." if held.beyond else ""
    title = f"{run.noun.capitalize()} by {feature.name.replace('_', ' ')}"
    return Plot(title, element(figure, title), caption)


def _quality(run: RunFacts) -> Plot:
    bars = []
    if run.counted is not None:
        bars.append(("counted", run.counted, BAR))
    bars += [(f"dropped: {why}", rows, ACCENT) for why, rows in run.dropped.items()]
    bars += [(f"quarantined: {why}", rows, ACCENT) for why, rows in run.quarantined.items()]
    if run.counted is None and run.rows_read is not None:
        bars.insert(0, ("read", run.rows_read, BAR))
    labels, counts, colours = zip(*bars, strict=True)
    return Plot("Input quality", _bars(labels, counts, "rows", colours))


def drawing(height: float) -> tuple[Figure, Axes]:
    """A figure of the page's width, so many inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def whole_numbers(axis: Any) -> None:
    """Have an axis show counts."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def element(figure: Figure, key: str) -> str:
    """The figure as an element to put into a page: no names of its own, no colours of its own, nothing to load."""
    import hashlib

    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)
    mark = "p" + hashlib.sha256(key.encode()).hexdigest()[:8]
    text = re.sub(r'(?<= )id="', f'id="{mark}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{mark}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def _score_name(name: str) -> str:
    return {"r_score": "recency", "f_score": "frequency", "m_score": "monetary"}.get(name, name.removesuffix("_score"))


def _brief(value: float) -> str:
    """
    >>> [_brief(v) for v in (0.25, 12.345, 1234.5, -98765.0, 2_500_000)]
    ['0.25', '12.3', '1,234', '-98,765', '2.5M']
    """
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:.3g}M"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
