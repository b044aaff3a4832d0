"""The committed notebooks are whole: outputs, order, size. `make notebooks` executes them."""

import ast
import sys
from pathlib import Path

import nbformat
import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import notebooks

NAMES = ("EDA_MNIST", "Model_Prototyping", "Model_Results_and_Visualizations", "Project_Walkthrough")


def test_the_four_notebooks_are_there() -> None:
    assert [path.stem for path in notebooks.NOTEBOOKS] == list(NAMES)


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_whole_and_of_real_mnist(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebooks.problems(notebook) == []
    first = next(cell for cell in notebook.cells if cell.cell_type == "code").outputs[0]
    assert first.text.startswith("dataset: mnist")


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_prose_is_finished(path: Path) -> None:
    prose = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert prose[0].startswith("# ")
    assert not [text for text in prose if "@" in text or "TODO" in text]


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_three_exercises_with_folded_answers_are_at_the_end(path: Path) -> None:
    last = nbformat.read(path, as_version=4).cells[-1].source
    assert last.startswith("## Three exercises\n")
    assert [number for number in "1234" if f"**{number}.**" in last] == ["1", "2", "3"]
    assert last.count("<details><summary>Answer</summary>") == last.count("</details>") == 3


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_imported_exists(path: Path) -> None:
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    imports = [node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("mnist_cnn")]
    assert ours
    for node in ours:
        exec(compile(ast.Module([node], []), str(path), "exec"), {})  # noqa: S102


def run(tmp_path: Path, *sources: str) -> list[str]:
    path = tmp_path / "some.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return notebooks.execute(path)


def test_execution_keeps_outputs_and_drops_progress_bars(tmp_path: Path) -> None:
    source = "from tqdm import tqdm\nprint('seen')\nfor _ in tqdm(range(3), unit=' images', mininterval=0):\n    pass"
    assert run(tmp_path, source) == []
    (cell,) = nbformat.read(tmp_path / "some.ipynb", as_version=4).cells
    assert [output.text for output in cell.outputs] == ["seen\n"]


def test_execution_reports_errors_and_missing_outputs(tmp_path: Path) -> None:
    assert "ZeroDivisionError" in run(tmp_path, "1 / 0")[0]
    assert run(tmp_path, "1", "x = 1") == ["code cell 2 has no output"]


def test_a_path_of_this_machine_is_found(tmp_path: Path) -> None:
    assert run(tmp_path, f"print('{ROOT.resolve()}/data')")[0].startswith("a path of this machine")
