"""The house of CONTRIBUTING.md holds: a module imports only what stands below it, or to its right on its own floor."""

import ast
import re

from conftest import ROOT

SRC = ROOT / "src"
ROW = re.compile(r"^\| (\d) \| (.*?) \| (.*?) \|", re.MULTILINE)


def places() -> dict[str, tuple[int, int, str]]:
    """Give each module of the table, dotted, its depth (floors from the top), its place in the row, and its room."""
    found = {}
    for floor, hall, rooms in ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        room = ""
        for place, name in enumerate(re.findall(r"`([\w/]+)`", f"{hall} {rooms}")):
            if name.endswith("/"):
                room = name[:-1]
            else:
                found[f"{room}.{name}" if room else name] = (-int(floor), place, room)
    return found


def modules() -> set[str]:
    """List the modules of the package, dotted."""
    files = [path.relative_to(SRC).with_suffix("") for path in SRC.rglob("*.py")]
    return {".".join(file.parts) for file in files if file.name not in ("__init__", "__main__")}


def imported_modules(name: str) -> set[str]:
    """List the package's modules that one of them imports, anywhere in it."""
    imported = set()
    for node in ast.walk(ast.parse((SRC / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            imported |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    return {name.removeprefix("mnist_cnn.") for name in imported if name.startswith("mnist_cnn.")} & modules()


def test_every_module_has_its_place() -> None:
    assert modules() == set(places())
    assert {path.parent.name for path in SRC.glob("*/__init__.py")} == {room for *_, room in places().values()} - {""}


def test_modules_import_only_what_stands_below_or_to_their_right() -> None:
    where, upward = places(), []
    for name, (depth, place, room) in where.items():
        for other in imported_modules(name):
            other_depth, other_place, other_room = where[other]
            below = other_depth > depth
            beside = other_depth == depth and other_place > place and (not room or room == other_room)
            if not (below or beside):
                upward.append(f"{name} imports {other}")
    assert len(where) > 50
    assert not upward


def test_each_room_says_in_two_lines_what_belongs_there() -> None:
    for path in SRC.glob("*/__init__.py"):
        lines = [line for line in (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines() if line]
        assert len(lines) == 2, path


def test_scripts_define_functions_only() -> None:
    for name in ("main.py", "evaluate.py"):
        tree = ast.parse((ROOT / "src" / name).read_text(encoding="utf-8"))
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
