"""The picture of a network as SVG, one group a node, coloured by the worst dB of its layer."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping

from calibrant.report.picture import Picture
from calibrant.report.short_name import middle_cut

WIDTH, HEIGHT = 190, 44
ACROSS, DOWN = 220, 78
LONGEST_LABEL = 25
LIMITS = (15, 25, 35, 45)


def drawing(drawn: Picture, damage: Mapping[str, float], quantized: Collection[str], reasons: Mapping[str, str]) -> str:
    """SVG that fills the width of the page.

    Parameters
    ----------
    damage : Mapping[str, float]
        Layer → dB.
    quantized : Collection[str]
        Layers on INT8.
    reasons : Mapping[str, str]
        Layer in float → why.
    """
    left = min((x for x, _ in drawn.places.values()), default=0.0) * ACROSS - ACROSS / 2
    right = max((x for x, _ in drawn.places.values()), default=0.0) * ACROSS + ACROSS / 2
    bottom = (1 + max((row for _, row in drawn.places.values()), default=0)) * DOWN
    parts = []
    for source, target, between in drawn.edges:
        points = [_center(drawn.places[source]), *map(_center, between), _center(drawn.places[target])]
        parts.append(f'<path d="{_curve(points)}"/>')
    nodes = []
    for name, place in drawn.places.items():
        x, y = _center(place)
        kind, note = _kind(name, damage, quantized, reasons)
        acts = name in quantized or name in reasons
        role = f'role="button" tabindex="0" data-layer="{_text(name)}"' if acts else 'role="img"'
        nodes.append(
            f'<g class="node {kind}" transform="translate({x - WIDTH / 2:.0f} {y - HEIGHT / 2:.0f})" {role} '
            f'aria-label="{_text(f"{name}: {drawn.ops[name]} {note}".strip())}">'
            f"<title>{_text(name)}\n{_text(note)}</title>"
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
            f'<text x="8" y="18">{_text(middle_cut(name, LONGEST_LABEL))}</text>'
            f'<text x="8" y="35" class="sub">{_text(f"{drawn.ops[name]}  {note}"[:30])}</text></g>'
        )
    view = f"{left:.0f} -{DOWN / 2:.0f} {right - left:.0f} {bottom:.0f}"
    return (
        f'<svg id="picture" viewBox="{view}" data-view="{view}" role="group" '
        'aria-label="The network from input to output">'
        f'<g class="edges">{"".join(parts)}</g>{"".join(nodes)}</svg>'
    )


def _kind(
    name: str, damage: Mapping[str, float], quantized: Collection[str], reasons: Mapping[str, str]
) -> tuple[str, str]:
    if name in damage:
        level = sum(damage[name] >= limit for limit in LIMITS)
        return f"d{level}", f"{damage[name]:.1f} dB"
    if name in quantized:
        return "d4", "no loss"
    if name in reasons:
        return "float", f"float: {reasons[name]}"
    return "other", ""


def _center(place: tuple[float, int]) -> tuple[float, float]:
    return place[0] * ACROSS, place[1] * DOWN


def _curve(points: list[tuple[float, float]]) -> str:
    text = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x, y), (to_x, to_y) in zip(points, points[1:], strict=False):
        if x == to_x:
            text += f"L{to_x:.0f} {to_y:.0f}"
        else:
            half = (y + to_y) / 2
            text += f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}"
    return text


def _text(value: str) -> str:
    return html.escape(value, quote=True)
