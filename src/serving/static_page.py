"""The page without a server: static files that read digits in the browser alone."""

import hashlib
import importlib.metadata
import json
import lzma
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from mnist_cnn import classifier, fusion, reading
from mnist_cnn.classifier import Classifier, Model
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write
from mnist_cnn.models.onnx_gradient import GRADIENT, with_gradient
from mnist_cnn.models.onnx_layers import activation_names, count_weights, filter_names, find_last_layer, with_outputs
from mnist_cnn.models.onnx_model import OnnxModel
from mnist_cnn.pictures import candidates, contrast, detections, digit_crop, image_io, lines, preprocess, spotter
from mnist_cnn.serving import explain
from mnist_cnn.serving.single_file import BUNDLE, pack

WEB = Path(__file__).parent / "web"
SCRIPTS, WASM = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs"), "ort-wasm-simd-threaded.wasm"
RUNTIME = (*SCRIPTS, WASM, BUNDLE)
OFFLINE = "offline.js"
TWINS = (
    *(candidates, classifier, contrast, detections, digit_crop, explain, fusion, image_io, lines),
    *(preprocess, reading, spotter),
)
POLICY = (  # that of the service, and ONNX Runtime's WebAssembly
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)


def check_runtime(package: Path) -> None:
    """Check that npm's package onnxruntime-web is in a folder, and xz-decompress beside it.

    Raises:
        InputError: one is not.
    """
    for file in (*(package / "dist" / name for name in RUNTIME), decompressor(package)):
        if not file.is_file():
            raise InputError(
                f"no {file.name} in {file.parent}; `npm install onnxruntime-web xz-decompress` puts it into "
                "node_modules, or name the folder of onnxruntime-web, beside xz-decompress, with --runtime"
            )


def decompressor(package: Path) -> Path:
    """Name the script of npm's package xz-decompress beside onnxruntime-web."""
    return package.parent / "xz-decompress" / "dist" / "package" / "xz-decompress.min.js"


def as_module(script: str) -> str:
    """Make a module of xz-decompress, which is written for other loaders (UMD)."""
    loaded = f'(function () {{\n{script}\nreturn this["xz-decompress"];\n}}).call({{}})'
    return f"export const {{ XzReadableStream }} = {loaded};\n"


def write_page(model: Path, folder: Path, package: Path) -> None:
    """Write the page, an .onnx model, the spotter and the runtime of a checked package into a folder."""
    reader = Classifier.load(model)
    web = folder / "web"
    (web / "ort").mkdir(parents=True, exist_ok=True)
    if model != web / "mnist_cnn.onnx":
        shutil.copyfile(model, web / "mnist_cnn.onnx")
    if reader.reads_digits:
        shutil.copyfile(spotter.PACKAGED, web / "spotter.onnx")
    for name in SCRIPTS:
        shutil.copyfile(package / "dist" / name, web / "ort" / name)
    (web / "ort" / "xz.js").write_text(as_module(decompressor(package).read_text(encoding="utf-8")), encoding="utf-8")
    packed = web / "ort" / f"{WASM}.xz"  # a sixth of its size, on hosts that do not compress too; gzip: a quarter
    packed.write_bytes(lzma.compress((package / "dist" / WASM).read_bytes(), check=lzma.CHECK_CRC32))
    downloads = [packed, web / "mnist_cnn.onnx", *([web / "spotter.onnx"] if reader.reads_digits else [])]
    sizes = {str(file.relative_to(web).as_posix()): file.stat().st_size for file in downloads}
    (web / "model.json").write_text(json.dumps(page_data(reader) | {"downloads": sizes}), encoding="utf-8")
    html = (WEB / "index.html").read_text(encoding="utf-8")
    policy = f'<head>\n  <meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    (folder / "index.html").write_text(html.replace("<head>", policy, 1), encoding="utf-8")
    for file in (*WEB.glob("*.js"), *WEB.glob("mnist*.*"), WEB / "style.css", WEB / "icon.svg"):
        if not file.stem.startswith(("docs", "reader")):
            shutil.copyfile(file, web / file.name)
    shutil.copyfile(WEB / "reader_local.js", web / "reader.js")
    shutil.copytree(WEB / "local", web / "local", dirs_exist_ok=True, ignore=shutil.ignore_patterns(OFFLINE))
    write_service_worker(folder)


def write_service_worker(folder: Path) -> None:
    """Write what keeps the files of the page, by which browsers notice that one of them is new."""
    files = sorted(path for path in [folder / "index.html", *(folder / "web").rglob("*")] if path.is_file())
    version = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:16]
    paths = ["./", *(path.relative_to(folder).as_posix() for path in files if path.name != "index.html")]
    source = (WEB / "local" / OFFLINE).read_text(encoding="utf-8")
    head = f"const VERSION = {json.dumps(version)}, FILES = {json.dumps(paths)};\n"
    (folder / OFFLINE).write_text(head + source, encoding="utf-8")


def write_single_file(model: Path, file: Path, package: Path) -> None:
    """Write the page of an .onnx model as one .html; see `write_page`."""
    with TemporaryDirectory() as folder:
        write_page(model, Path(folder), package)
        content = pack(Path(folder), package)
    with atomic_write(file) as temporary:
        temporary.write_text(content, encoding="utf-8")


def page_data(reader: Classifier) -> dict[str, Any]:
    """Return what the page needs to know: the model, and the constants of each module that has a twin in JavaScript."""
    model = describe_model(reader) | {"weight": reader.weight, "reads_digits": reader.reads_digits}
    if isinstance(reader.model, OnnxModel):
        model |= extensions(reader.model.content)
    return {"model": model, "constants": {module.__name__.rsplit(".", 1)[-1]: constants(module) for module in TWINS}}


def extensions(content: bytes) -> dict[str, Any]:
    """Return what the page appends to an .onnx file to see inside and to run it backwards, and the values' names."""
    layers, last, extended = activation_names(content), find_last_layer(content), with_gradient(content)
    names = [last.features, last.weights, last.biases] if last else []
    filters = filter_names(content)
    outputs = with_outputs(b"", (*layers, *filters, *names))
    found: dict[str, Any] = {"layers": layers, "filters": filters, "last_layer": names, "outputs": [*outputs]}
    if extended:
        file, inputs = extended
        found |= {"backward": [*file[len(content) :]], "inputs": inputs, "gradient": GRADIENT}
    return found


def describe_model(reader: Classifier) -> dict[str, Any]:
    """Describe a classifier's model: a `schemas.ModelInfo`."""
    model, metadata = reader.model, reader.model.metadata
    return {
        "name": metadata["name"],
        "hash": metadata["checkpoint_sha256"],
        "version": metadata["version"],
        "trained": metadata.get("trained"),
        "dataset": metadata["dataset"],
        "classes": list(reader.classes),
        "accuracy": float(metadata["accuracy"]) if "accuracy" in metadata else None,
        "weights": count_weights(model.content) if isinstance(model, OnnxModel) else None,
        "explains": explained(model),
        "links": project_links(),
        "temperature": float(metadata["temperature"]),
        "probability_threshold": model.probability_threshold,
        "ood_threshold": model.ood_threshold,
    }


def project_links() -> dict[str, str]:
    """Return the addresses that the package names: its source, its documentation, ..."""
    entries = importlib.metadata.metadata("mnist-cnn").get_all("Project-URL") or []
    return dict(entry.split(", ", 1) for entry in entries)


def explained(model: Model) -> list[str]:
    """List what can be shown of a model: its layers, last features and gradient."""
    if not isinstance(model, OnnxModel):
        return []
    linear, chain = find_last_layer(model.content) is not None, with_gradient(model.content) is not None
    return ["layers", *(["features"] if linear else []), *(["gradient"] if chain else [])]


def constants(module: ModuleType) -> dict[str, Any]:
    """Return the numbers, and tuples of numbers, that a module has as constants."""
    return {name: value for name, value in vars(module).items() if name.isupper() and is_numeric(value)}


def is_numeric(value: object) -> bool:
    """Return whether a value is a number or a tuple of numbers."""
    return isinstance(value, int | float) or (isinstance(value, tuple) and all(map(is_numeric, value)))
