"""The drawing page without a server: static files that read digits in the browser alone."""

import json
import shutil
from pathlib import Path

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_model import load_onnx

WEB = Path(__file__).parent / "web"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def check_runtime(package: Path) -> None:
    """Check that npm's package onnxruntime-web is in a folder.

    Raises:
        InputError: it is not.
    """
    for name in RUNTIME:
        if not (package / "dist" / name).is_file():
            raise InputError(
                f"no {name} in {package / 'dist'}; `npm install onnxruntime-web` puts it into node_modules, "
                "or name the package's folder with --runtime"
            )


def write_page(model: Path, folder: Path, package: Path) -> None:
    """Write the page, an .onnx model and the runtime of a checked package into a folder."""
    found = load_onnx(model)
    info = {
        "name": found.metadata["name"],
        "dataset": found.metadata["dataset"],
        "accuracy": float(found.metadata["accuracy"]) if "accuracy" in found.metadata else None,
        "classes": found.classes,
        "probability_threshold": found.probability_threshold,
        "ood_threshold": found.ood_threshold,
    }
    web = folder / "web"
    (web / "ort").mkdir(parents=True, exist_ok=True)
    (web / "model.json").write_text(json.dumps(info), encoding="utf-8")
    if model != web / "mnist_cnn.onnx":
        shutil.copyfile(model, web / "mnist_cnn.onnx")
    shutil.copyfile(WEB / "index.html", folder / "index.html")
    for name in ("app.js", "answer.js", "drawing.js", "style.css", "icon.svg"):
        shutil.copyfile(WEB / name, web / name)
    shutil.copyfile(WEB / "reader_local.js", web / "reader.js")
    for name in RUNTIME:
        shutil.copyfile(package / "dist" / name, web / "ort" / name)
