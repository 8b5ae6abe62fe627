"""Draws the rooms and their imports as docs/architecture.svg: `python -m tests.house.draw`."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from tests.house.imports import floors, imports_of_modules, imports_of_rooms, without_shortcuts

PICTURE = Path(__file__).parents[2] / "docs/architecture.svg"
WIDTH, MARGIN = 720, 16
ROOM, GAP = (132, 44), 44
"""Width and height of a room, and the space between floors, in units of the picture."""
COLOURS = {
    "flows": "#0072B2",
    "encoders": "#D55E00",
    "heads": "#D55E00",
    "warehouse": "#D55E00",
    "embeddings": "#009E73",
}
"""Okabe and Ito's, which the colour-blind tell apart."""


def picture() -> str:
    """The whole SVG. The same imports give the same text."""
    rooms = imports_of_rooms(imports_of_modules())
    flows = {room: below for room, below in rooms.items() if room.startswith("flows.")}
    inner = {room: below & flows.keys() for room, below in flows.items()}
    levels = [*reversed(floors(inner)), ["encoders", "heads", "warehouse"], ["embeddings"]]
    places: dict[str, tuple[float, float]] = {}
    y = MARGIN + 22.0
    arrows = without_shortcuts(inner)
    for level in levels:
        step = (WIDTH - 2 * MARGIN) / len(level)
        columns = [MARGIN + step * (number + 0.5) for number in range(len(level))]

        def shift(order: tuple[str, ...], columns: list[float] = columns) -> float:
            """How far to the side all arrows run that end on this floor."""
            pairs = [
                (x, above) for room, x in zip(order, columns, strict=True) for above in arrows if room in arrows[above]
            ]
            return sum(abs(x - places[above][0]) for x, above in pairs)

        for room, x in zip(min(permutations(level), key=shift), columns, strict=True):
            places[room] = (x, y)
        y += ROOM[1] + GAP
        if level is levels[-3]:
            bottom_of_flows = y - GAP + 14
            y += 24
    for room in ("encoders", "heads", "warehouse"):
        arrows[room] = rooms[room] & {"embeddings"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - GAP + MARGIN:.0f}" '
        'font-family="sans-serif" font-size="19">',
        "<title>The rooms of guidestore, and which imports which</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<rect x="4" y="4" width="{WIDTH - 8}" height="{bottom_of_flows:.0f}" rx="10" fill="#0072B2" opacity=".07"/>',
        '<text x="16" y="28" fill="#0072B2" font-weight="bold">flows</text>',
    ]
    middle = bottom_of_flows + 4
    for room in ("encoders", "heads", "warehouse"):
        x, top = places[room]
        parts.append(_arrow(x, middle, x, top, width=3))
    for room, below in arrows.items():
        for target in sorted(below):
            parts.append(_arrow(places[room][0], places[room][1] + ROOM[1], *places[target]))
    for room, (x, top) in places.items():
        package, _, name = room.partition(".")
        parts.append(
            f'<rect x="{x - ROOM[0] / 2:.1f}" y="{top:.1f}" width="{ROOM[0]}" height="{ROOM[1]}" rx="8" '
            f'fill="#fff" stroke="{COLOURS[package]}" stroke-width="2"/>'
            f'<text x="{x:.1f}" y="{top + 28:.1f}" text-anchor="middle">{name or package}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _arrow(x: float, y: float, to_x: float, to_y: float, width: float = 1.5) -> str:
    """A curve that leaves downwards and arrives from above, with its head."""
    bend = (to_y - y) / 2
    end = to_y - 7
    return (
        f'<path d="M{x:.1f} {y:.1f}C{x:.1f} {y + bend:.1f} {to_x:.1f} {end - bend:.1f} {to_x:.1f} {end:.1f}" '
        f'fill="none" stroke="#555" stroke-width="{width}" opacity=".75"/>'
        f'<path d="M{to_x - 5:.1f} {end:.1f}h10l-5 7z" fill="#555"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(PICTURE)
