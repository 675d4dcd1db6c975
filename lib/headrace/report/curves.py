"""Plots of numbers that a learner shows on samples: histograms, and lines through points between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.report.plots import ACCENT, BAR, LINE, Plot, drawing, drawn_bars, element, shown, styled, whole_numbers


def histogram(title: str, unit: str, edges: Sequence[float], counts: Sequence[int], caption: str) -> Plot:
    """Counts of values between edges."""
    with styled():
        figure, axes = drawing(2.3)
        drawn_bars(axes, edges, counts)
        axes.set_xlabel(shown(unit))
        whole_numbers(axes.yaxis)
        return Plot(title, element(figure, title), caption)


def curve(
    title: str,
    across: str,
    up: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    *,
    diagonal: bool = False,
) -> Plot:
    """Named lines through points between 0 and 1, with the diagonal if it means something."""
    with styled():
        figure, axes = drawing(2.9)
        if diagonal:
            axes.plot([0, 1], [0, 1], color=LINE, linestyle="--")
        for (name, (xs, ys)), style in zip(lines.items(), ("-", "--", ":"), strict=False):
            axes.plot(
                xs, ys, style, color=ACCENT if style == "-" else BAR, marker="." if diagonal else None, label=name
            )
        if len(lines) > 1:
            axes.legend(frameon=False)
        axes.set_xlabel(shown(across))
        axes.set_ylabel(shown(up))
        axes.grid()
        axes.tick_params(length=0)
        return Plot(title, element(figure, title), caption)
