"""The layers of CONTRIBUTING.md hold: a module imports only modules of lower layers."""

import ast
import re

from conftest import ROOT

ROW = re.compile(r"^\| (\d+) \| (.+?) \|", re.MULTILINE)


def layer_of_each_module() -> dict[str, int]:
    rows = ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`(\w+)`", names)}


def imported_modules(source: str) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "mnist_cnn":
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mnist_cnn."):
            imported.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mnist_cnn.")}
    return imported


def test_every_module_has_a_layer() -> None:
    modules = {path.stem for path in (ROOT / "src").glob("*.py")} - {"__init__"}
    assert modules == set(layer_of_each_module())


def test_modules_import_only_lower_layers() -> None:
    layers = layer_of_each_module()
    upward = [
        f"{name} imports {other}"
        for name, layer in layers.items()
        for other in imported_modules((ROOT / "src" / f"{name}.py").read_text(encoding="utf-8"))
        if layers[other] >= layer
    ]
    assert not upward


def test_scripts_define_functions_only() -> None:
    for name in ("main.py", "evaluate.py"):
        tree = ast.parse((ROOT / "src" / name).read_text(encoding="utf-8"))
        assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
