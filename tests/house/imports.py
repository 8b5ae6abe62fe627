"""Who imports whom, read from the code: modules, and the rooms that they stand in."""

from __future__ import annotations

from collections.abc import Iterable

import grimp

PACKAGE = "guidestore"


def imports_of_modules() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, anywhere in the file: lazy imports too, and those for types alone."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}


def room_of(module: str) -> str | None:
    """``flows.cli`` of a module of flows, the top folder of any other; None for the packages above the rooms."""
    names = module.split(".")[1:]
    if not names or names[0].startswith("__") or names == ["flows"]:
        return None
    return ".".join(names[:2]) if names[0] == "flows" else names[0]


def imports_of_rooms(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """Room -> rooms that it imports."""
    rooms: dict[str, set[str]] = {room: set() for module in modules if (room := room_of(module))}
    for module, imported in modules.items():
        source = room_of(module)
        targets = {room_of(other) for other in imported} - {None, source}
        if source:
            rooms[source] |= {target for target in targets if target}
    return rooms


def floors(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by floor, the ground first: a room stands right above the highest that it imports. They have no circle."""
    height: dict[str, int] = {}

    def floor_of(room: str) -> int:
        if room not in height:
            height[room] = max((floor_of(below) + 1 for below in rooms[room] if below in rooms), default=0)
        return height[room]

    for room in rooms:
        floor_of(room)
    return [sorted(room for room in rooms if height[room] == floor) for floor in range(max(height.values()) + 1)]


def without_shortcuts(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that no longer way implies: cli -> work goes where cli -> serving -> work is."""

    def reach(starts: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        for start in starts:
            reached |= {start} | reach(rooms[start] & rooms.keys())
        return reached

    return {
        room: {target for target in targets if target not in reach(set().union(*(rooms[t] for t in targets)))}
        for room, targets in rooms.items()
    }


def circle(modules: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a loop, the first that is met; empty where there is none."""
    done: set[str] = set()
    path: list[str] = []

    def walk(module: str) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for imported in sorted(modules[module]):
            if loop := walk(imported):
                return loop
        done.add(path.pop())
        return []

    return next((loop for module in sorted(modules) if (loop := walk(module))), [])
