"""A picture of lines over a logarithmic axis of counts, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

_WIDTH, _HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 200, 30, 50
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f")

Lines = Mapping[str, Sequence[tuple[float, float]]]


def of(lines: Lines, before: Lines, up: str, along: str) -> str:
    """The SVG.

    Args:
        lines: points by name.
        before: the same of an earlier time, dashed, in the colour of the line of that name.
        up: what the vertical axis shows.
        along: what the horizontal one does, as logarithm.
    """
    points = [point for each in (*lines.values(), *before.values()) for point in each]
    least, most = min(x for x, _ in points), max(x for x, _ in points)
    highest = max(y for _, y in points) * 1.05 or 1

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log(x / least) / (math.log(most / least) or 1)
        return (
            round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - y / highest * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}")
    svg.set("font-family", "sans-serif")
    svg.set("font-size", "12")
    ET.SubElement(svg, "rect", width=str(_WIDTH), height=str(_HEIGHT), fill="white")
    for x in sorted({x for x, _ in points}):
        across, down = place(x, 0)
        _line(svg, [(across, down), (across, _TOP)], "#eee")
        _text(svg, across, down + 18, f"{x:,.0f}", "middle")
    step = 10 ** math.floor(math.log10(highest / 2))
    for mark in range(int(highest / step) + 1):
        across, down = place(least, mark * step)
        _line(svg, [(across, down), place(most, mark * step)], "#eee")
        _text(svg, across - 6, down + 4, f"{mark * step:g}", "end")
    _text(svg, _LEFT, _TOP - 12, up, "start")
    _text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, along, "middle")
    for number, (name, its) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        if earlier := before.get(name):
            _line(svg, [place(*point) for point in sorted(earlier)], colour, dashed=True)
        _line(svg, [place(*point) for point in sorted(its)], colour)
        _text(svg, _WIDTH - _RIGHT + 16, _TOP + 20 * number + 12, name, "start", colour)
    if before:
        _text(svg, _WIDTH - _RIGHT + 16, _TOP + 20 * len(lines) + 20, "dashed: before", "start")
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _line(svg: ET.Element, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> None:
    path = " ".join(f"{x},{y}" for x, y in points)
    line = ET.SubElement(svg, "polyline", points=path, fill="none", stroke=colour)
    line.set("stroke-width", "1.5")
    if dashed:
        line.set("stroke-dasharray", "5 4")


def _text(svg: ET.Element, x: float, y: float, text: str, anchor: str, colour: str = "#333") -> None:
    found = ET.SubElement(svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", fill=colour)
    found.set("text-anchor", anchor)
    found.text = text
