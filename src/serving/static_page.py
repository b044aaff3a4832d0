"""The page without a server: static files that read digits in the browser alone."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from mnist_cnn import classifier, fusion, reading
from mnist_cnn.classifier import Classifier
from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures import candidates, contrast, detections, digit_crop, image_io, lines, preprocess, spotter

WEB = Path(__file__).parent / "web"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
TWINS = (
    *(candidates, classifier, contrast, detections, digit_crop, fusion, image_io, lines),
    *(preprocess, reading, spotter),
)
POLICY = (  # that of the service, and ONNX Runtime's WebAssembly
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)


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
    """Write the page, an .onnx model, the spotter and the runtime of a checked package into a folder."""
    reader = Classifier.load(model)
    web = folder / "web"
    (web / "ort").mkdir(parents=True, exist_ok=True)
    (web / "model.json").write_text(json.dumps(page_data(reader)), encoding="utf-8")
    if model != web / "mnist_cnn.onnx":
        shutil.copyfile(model, web / "mnist_cnn.onnx")
    if reader.reads_digits:
        shutil.copyfile(spotter.PACKAGED, web / "spotter.onnx")
    html = (WEB / "index.html").read_text(encoding="utf-8")
    policy = f'<head>\n  <meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    (folder / "index.html").write_text(html.replace("<head>", policy, 1), encoding="utf-8")
    for name in ("app.js", "answer.js", "drawing.js", "strokes.js", "style.css", "icon.svg"):
        shutil.copyfile(WEB / name, web / name)
    shutil.copyfile(WEB / "reader_local.js", web / "reader.js")
    shutil.copytree(WEB / "local", web / "local", dirs_exist_ok=True)
    for name in RUNTIME:
        shutil.copyfile(package / "dist" / name, web / "ort" / name)


def page_data(reader: Classifier) -> dict[str, Any]:
    """Return what the page needs to know: the model, and the constants of each module that has a twin in JavaScript."""
    model = {
        "name": reader.model.metadata["name"],
        "dataset": reader.model.metadata["dataset"],
        "accuracy": float(reader.model.metadata["accuracy"]) if "accuracy" in reader.model.metadata else None,
        "classes": reader.classes,
        "probability_threshold": reader.model.probability_threshold,
        "ood_threshold": reader.model.ood_threshold,
        "weight": reader.weight,
        "reads_digits": reader.reads_digits,
    }
    return {"model": model, "constants": {module.__name__.rsplit(".", 1)[-1]: constants(module) for module in TWINS}}


def constants(module: ModuleType) -> dict[str, Any]:
    """Return the numbers, and tuples of numbers, that a module has as constants."""
    return {name: value for name, value in vars(module).items() if name.isupper() and is_numeric(value)}


def is_numeric(value: object) -> bool:
    """Return whether a value is a number or a tuple of numbers."""
    return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(is_numeric, value)))
