"""Execute every notebook from top to bottom, in place, and check what came out."""

import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 2_000_000
SECONDS_A_CELL = 600


def problems(notebook: NotebookNode) -> list[str]:
    """Say what would embarrass a committed notebook: no output, an error, a path of this machine, too many bytes."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = nbformat.writes(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    found = [f"code cell {number} has no output" for number, cell in enumerate(cells, start=1) if not cell.outputs]
    found += [f"an error: {output.ename}" for output in outputs if output.output_type == "error"]
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("execution counts are not 1, 2, 3, ...")
    found += [f"a path of this machine: {path}" for path in (ROOT.resolve(), Path.home()) if f"{path}/" in text]
    if len(text) > LARGEST:
        found.append(f"{len(text):,} bytes, more than {LARGEST:,}")
    return found


def execute(path: Path) -> list[str]:
    """Run a notebook as Jupyter would, save it with its outputs, and return its problems."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, record_timing=False, coalesce_streams=True, resources=resources
    )
    try:
        code_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        with tqdm(total=code_cells, desc=path.stem, unit="cell") as bar:
            client.on_cell_complete = lambda **_: bar.update()
            client.execute()
    except CellExecutionError as error:
        return [re.sub(r"\x1b\[[0-9;]*m", "", str(error))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress_bar(output)]
    nbformat.write(notebook, path)
    return problems(notebook)


def is_progress_bar(output: NotebookNode) -> bool:
    """Recognise what a progress bar leaves behind; nobody reads it afterwards."""
    return output.output_type == "stream" and output.name == "stderr" and "images/s" in output.text


def main() -> None:
    """Execute those that the arguments name, or all; exit with code 1 if one has a problem."""
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm asks for widgets that nothing here uses
    if "MNIST_CNN_DATA" in os.environ:
        os.environ["MNIST_CNN_DATA"] = str(Path(os.environ["MNIST_CNN_DATA"]).resolve())  # notebooks run elsewhere
    chosen = [path for path in NOTEBOOKS if path.stem in sys.argv[1:] or len(sys.argv) == 1]
    found = [f"{path.name}: {problem}" for path in chosen for problem in execute(path)]
    print("\n".join(found or [f"{len(chosen)} notebooks executed, no problem found"]))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
