"""Exports a checkpoint as an .onnx file, which is kept only if its predictions equal the checkpoint's."""

import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnx
from tyro.conf import arg

from mnist_cnn.chip.c_export import write_c
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import DEFAULT, load_checkpoint, or_shipped
from mnist_cnn.models.inference_graph import to_onnx
from mnist_cnn.models.onnx_model import PACKAGED, Floats, OnnxModel, parse, with_checksum
from mnist_cnn.models.quantize import to_float16, to_int8
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.own_network import OwnNetwork
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pretrained import write_folder
from mnist_cnn.serving.static_page import check_runtime, write_page, write_single_file
from mnist_cnn.splits import with_classes

Quantized = Literal["int8", "float16"]
MAX_DIFFERENCE = 1e-4  # between probabilities of file and checkpoint
CALIBRATION_IMAGES = 1000
TIMED_RUNS = 11


def serialized(proto: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    """Check a model and serialize it with its metadata and checksum."""
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return with_checksum(proto.SerializeToString())


def parse_exported(content: bytes, output: Path, model: TorchModel) -> OnnxModel:
    """Parse an exported file as `predict` will.

    Raises:
        InputError: a network from outside is made of something that is not allowed in such a file.
    """
    try:
        return parse(content, str(output))
    except InputError as error:
        if not isinstance(model.network, OwnNetwork):
            raise
        spec = model.network.config.network
        raise InputError(f"{spec} is not made of what an .onnx of this program may hold: {error}") from None


def check_equal(found: Floats, expected: Floats) -> None:
    """Check that two models predict the same classes and probabilities [N, classes] within `MAX_DIFFERENCE`.

    Raises:
        InputError: they differ.
    """
    difference = float(np.abs(found - expected).max())
    changed = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if changed or not difference <= MAX_DIFFERENCE:
        raise InputError(
            f"the exported probabilities differ by {difference:.1e} and {changed} of {len(found)} predictions from the "
            "checkpoint's; no file was written: report this with the checkpoint"
        )


def check_benefit(quantized: bytes, float32: bytes, images: Pixels, form: Quantized) -> None:
    """Check that a quantized file is smaller and, in int8, not slower, by the medians of alternating runs.

    Raises:
        InputError: it is larger or slower.
    """
    models = parse(quantized, form), parse(float32, "float32")
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(TIMED_RUNS):
        for model, times in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model.infer(images)
            times.append(time.perf_counter() - start)
    speedup = statistics.median(seconds[1]) / statistics.median(seconds[0])
    print(f"{form}: {len(quantized):,} bytes instead of {len(float32):,}, {speedup:.2f} times as fast", file=sys.stderr)
    if len(quantized) >= len(float32) or (form == "int8" and speedup < 1):
        raise InputError(f"{form} is not both smaller and faster here; no file was written: leave --quantize out")


def export(
    file: Path,
    output: Path,
    quantize: Quantized | None = None,
    data_dir: Path | None = None,
    network: str | None = None,
) -> tuple[float, float]:
    """Export a checkpoint as .onnx, unless its predictions on the test split differ.

    Args:
        file: the checkpoint.
        output: the file to write.
        quantize: what to quantize to; predictions may then differ, but the file must be smaller, and int8 faster.
        data_dir: as in `load_dataset`.
        network: as in `load_checkpoint`.

    Returns:
        The accuracies of checkpoint and file.

    Raises:
        InputError: the checkpoint or the dataset cannot be read, or a check fails.
    """
    checkpoint = load_checkpoint(file, network)
    model = TorchModel(checkpoint, file)
    dataset = with_classes(load_dataset(checkpoint.dataset, data_dir), checkpoint.classes, file)
    images, labels = dataset.test.images[:, 0].numpy(), dataset.test.labels.numpy()
    expected = model.infer(images)[0]
    accuracy = exported_accuracy = float((expected.argmax(axis=1) == labels).mean())
    graph = to_onnx(model)
    content = serialized(graph, model.metadata | {"accuracy": repr(accuracy)})
    check_equal(parse_exported(content, output, model).infer(images)[0], expected)
    if quantize:
        calibration = dataset.train.images[:CALIBRATION_IMAGES, 0].numpy()
        proto = to_float16(graph) if quantize == "float16" else to_int8(to_onnx(model, stride=False), calibration)
        found = parse(serialized(proto, model.metadata), str(output)).infer(images)[0]
        exported_accuracy = float((found.argmax(axis=1) == labels).mean())
        smaller = serialized(proto, model.metadata | {"accuracy": repr(exported_accuracy)})
        check_benefit(smaller, content, images[:500], quantize)
        content = smaller
    with atomic_write(output) as temporary:
        temporary.write_bytes(content)
    return accuracy, exported_accuracy


def export_and_tell(
    checkpoint: Path, output: Path, quantize: Quantized | None, data_dir: Path | None, network: str | None
) -> None:
    """Export a checkpoint and print what it became.

    Raises:
        InputError: as in `export`, or the output is no .onnx file or cannot be written.
    """
    if output.suffix != ".onnx":
        raise InputError(f"--output is {output}; its name must end in .onnx")
    check_writable(output.parent, "--output")
    before, after = export(checkpoint, output, quantize, data_dir, network)
    print(f"{output}: {output.stat().st_size:,} bytes, accuracy {after:.2%} ({checkpoint.name}: {before:.2%})")


def export_safetensors(file: Path, folder: Path) -> None:
    """Write a checkpoint's network as model.safetensors and config.json, for `CNN.from_pretrained`.

    Raises:
        InputError: the checkpoint cannot be read, is of several networks or of one from outside, or safetensors is not
            installed.
    """
    checkpoint = load_checkpoint(file)
    if checkpoint.model_config.members > 1:  # type: ignore[union-attr]  # load_checkpoint refused networks from outside
        raise InputError(f"{file} averages several networks; --safetensors writes one")
    about = {
        "architectures": ["CNN"],
        "model_config": dataclasses.asdict(checkpoint.model_config),
        "classes": list(checkpoint.classes),
        "dataset": checkpoint.dataset,
        "temperature": checkpoint.temperature,
    }
    write_folder(folder, about, checkpoint.state_dict)


def export_c_and_tell(checkpoint: Path, folder: Path, data_dir: Path | None, network: str | None) -> None:
    """Write a checkpoint as C and print what it became.

    Raises:
        InputError: as in `write_c`.
    """
    written = write_c(checkpoint, folder, data_dir, network)
    sizes = written.sizes
    print(
        f"{folder}: {sizes.tables:,} bytes of weights and tables, {sizes.ram:,} of RAM, {sizes.multiply_adds:,} "
        f"multiply-adds, accuracy {written.accuracy:.2%} ({checkpoint.name}: {written.float_accuracy:.2%})"
    )


def command(
    checkpoint: Annotated[Path | None, arg(help_behavior_hint=f"(default: {DEFAULT}; for --web what ships)")] = None,
    output: Annotated[Path | None, arg(help_behavior_hint="(default: beside the checkpoint)")] = None,
    quantize: Quantized | None = None,
    web: Path | None = None,
    single_file: bool = False,
    runtime: Path = Path("node_modules/onnxruntime-web"),
    safetensors: Path | None = None,
    c: Path | None = None,
    data_dir: Path | None = None,
    network: str | None = None,
) -> None:
    """Export a trained model as one .onnx file, which needs no PyTorch; with --web, a static web page that reads.

    Args:
        checkpoint: The trained model; if the default is missing, the one shipped with the checkout.
        output: The .onnx file to write.
        quantize: float16 halves the file; int8, a quarter, is kept only if it is also faster.
        web: Folder for the page, which draws and reads photos, and its models: static files for any web host.
        single_file: With --web, write the page as one file there, index.html, which opens by double click.
        runtime: Folder of the npm package onnxruntime-web, beside xz-decompress, for --web.
        safetensors: Folder for model.safetensors and config.json, which CNN.from_pretrained loads, in place of .onnx.
        c: Folder for C source instead, in integers and without dependencies: for microcontrollers.
        data_dir: Folder with the data to verify on, searched before $MNIST_CNN_DATA and ./data.
        network: The code of a model that was trained with --network, FILE.py:CLASS, which is run.
    """
    if c:
        if output or quantize or web or safetensors:
            raise InputError("--c writes C only; leave out --output, --quantize, --web and --safetensors, or --c")
        export_c_and_tell(or_shipped(checkpoint or DEFAULT), c, data_dir, network)
        return
    model = PACKAGED
    if web:
        check_runtime(runtime)
        check_writable(web if single_file else web / "web", "--web")
    if safetensors:
        check_writable(safetensors, "--safetensors")
        export_safetensors(or_shipped(checkpoint or DEFAULT), safetensors)
        print(f"{safetensors}: model.safetensors and config.json; CNN.from_pretrained loads them")
    if output or quantize or not (web or safetensors) or (web and checkpoint):
        checkpoint = or_shipped(checkpoint or DEFAULT)
        beside = web / ("mnist_cnn.onnx" if single_file else "web/mnist_cnn.onnx") if web else None
        model = output or beside or checkpoint.with_suffix(".onnx")
        export_and_tell(checkpoint, model, quantize, data_dir, network)
    if web:
        page, how = web / "index.html", f"any web server shows it, such as python -m http.server --directory {web}"
        if single_file:
            write_single_file(model, page, runtime)
            how = f"{page.stat().st_size:,} bytes that open by double click"
        else:
            write_page(model, web, runtime)
        print(f"page: {page}; {how}")


def main(argv: Sequence[str] | None = None, prog: str = "export.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
