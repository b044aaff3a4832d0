"""Exports a checkpoint as an .onnx file, which is kept only if its predictions equal the checkpoint's."""

import copy
import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tyro.conf import arg

from mnist_cnn.chip.c_export import write_c
from mnist_cnn.cnn_model import CNN, QuantizedConv2d
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.models.checkpoint import DEFAULT, load_checkpoint, or_shipped
from mnist_cnn.models.onnx_export import export_graph
from mnist_cnn.models.onnx_model import PACKAGED, Floats, OnnxModel, parse, with_checksum
from mnist_cnn.models.ood import OODDetector
from mnist_cnn.models.quantize import to_float16, to_int8
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.own_network import Network, OwnNetwork, described
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.pretrained import write_folder
from mnist_cnn.serving.static_page import check_runtime, write_page, write_single_file
from mnist_cnn.splits import with_classes

Quantized = Literal["int8", "float16"]
MAX_DIFFERENCE = 1e-4  # between probabilities of file and checkpoint
CALIBRATION_IMAGES = 1000
TIMED_RUNS = 11


class Exported(nn.Module):
    """The exported computation: logits, calibrated probabilities and out-of-distribution score."""

    def __init__(self, network: Network, temperature: float, ood_detector: OODDetector, stride: bool) -> None:
        """Fold the batch norms of a copy, and its space-to-depth into a strided convolution if `stride`."""
        super().__init__()
        self.network = fold_batch_norm(copy.deepcopy(network))
        if stride:
            fold_space_to_depth(self.network)
        self.temperature = temperature
        self.ood_detector = ood_detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map raw pixels, uint8 [N, 28, 28], to logits and probabilities [N, classes] and OOD scores [N]."""
        logits, features = self.network.logits_and_features(pixels[:, None])
        return logits, (logits / self.temperature).softmax(dim=1), self.ood_detector.score(features)


def members(network: Network) -> list[CNN]:
    """Return the members of an ensemble, or the network itself."""
    return [part for part in network.modules() if isinstance(part, CNN)]


def fold_batch_norm(network: Network) -> Network:
    """Fold every batch norm into its convolution, and move ReLU before pooling, where runtimes fuse it.

    A `RecurrentBlock` keeps its batch norm: its convolution is shared with blocks of other statistics.
    """
    for member in members(network):
        for number, stage in enumerate(member.stages):
            layers: list[nn.Module] = []
            assert isinstance(stage, nn.Sequential)
            for layer in stage:  # not children(), which skips a repeated module
                if isinstance(layer, nn.BatchNorm2d):
                    layers += fused(layers, layer)
                elif not isinstance(layer, nn.ReLU):
                    layers.append(layer)
            member.stages[number] = nn.Sequential(*layers)
    return network


def fused(layers: list[nn.Module], norm: nn.BatchNorm2d) -> list[nn.Module]:
    """Remove a convolution, and its max pooling, from the end of a list; return them fused with batch norm and ReLU.

    A batch norm with a negative scale does not commute with max pooling, and is kept.
    """
    pool = [layers.pop()] if isinstance(layers[-1], nn.MaxPool2d) else []
    convolution = layers.pop()
    assert isinstance(convolution, nn.Conv2d)
    if isinstance(convolution, QuantizedConv2d):
        convolution = convolution.plain()
    if pool and (norm.weight < 0).any():
        return [convolution, *pool, norm, nn.ReLU()]
    return [fuse_conv_bn_eval(convolution, norm), nn.ReLU(), *pool]


def fold_space_to_depth(network: Network) -> None:
    """Replace space-to-depth and a 3x3 convolution by the equal 6x6 convolution of stride 2, which copies no pixels.

    A looped network has no space-to-depth.
    """
    for member in members(network):
        if member.config.looped:
            continue
        stage = member.stages[0]
        assert isinstance(stage, nn.Sequential)
        convolution = stage[0]
        assert isinstance(convolution, nn.Conv2d)
        strided = nn.Conv2d(1, convolution.out_channels, kernel_size=6, stride=2, padding=2)
        strided.weight, strided.bias = nn.Parameter(F.pixel_shuffle(convolution.weight, 2)), convolution.bias
        member.space_to_depth, stage[0] = nn.Identity(), strided


def to_onnx(model: TorchModel, stride: bool = True) -> onnx.ModelProto:
    """Export a model to a graph from uint8 [N, 28, 28] `pixels` to `logits`, `probabilities` and `ood_score`.

    Args:
        model: the model, with temperature and OOD detector.
        stride: whether to fold space-to-depth into the first convolution: faster in float32, slower in int8.
    """
    exported = Exported(model.network, model.temperature, model.ood_detector, stride).eval()
    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    shapes = ({0: torch.export.Dim("N", min=1)},)
    try:
        return export_graph(exported, example, "pixels", ["logits", "probabilities", "ood_score"], shapes)
    except Exception as error:
        if not isinstance(model.network, OwnNetwork):
            raise
        raise InputError(f"PyTorch cannot export {model.network.config.network}: {described(error)}") from error


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
