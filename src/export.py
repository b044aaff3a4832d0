"""A trained checkpoint becomes an .onnx file, held to the checkpoint's own answers before it is kept."""

import copy
import io
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tyro.conf import arg

from mnist_cnn.cnn_model import CNN, Network
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.common.errors import InputError
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.data_loader import load_dataset, with_classes
from mnist_cnn.models.checkpoint import DEFAULT, load_checkpoint, or_shipped
from mnist_cnn.models.onnx_model import Floats, parse, with_checksum
from mnist_cnn.models.ood import OODDetector
from mnist_cnn.models.torch_model import TorchModel
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.serving.static_page import check_runtime, write_page

MOST_DIFFERENCE = 1e-4  # between the probabilities of the file and of the checkpoint
OPSET = 18
CALIBRATE = 1000  # training images that choose the scales of eight bits
ROUNDS = 11


class Exported(nn.Module):
    """What the file computes: a network with its temperature and its out-of-distribution score."""

    def __init__(self, network: Network, temperature: float, ood_detector: OODDetector, stride: bool) -> None:
        """Fold the batch norms of a copy away, and the squares of pixels where the first convolution may stride."""
        super().__init__()
        self.network = fold(copy.deepcopy(network))
        if stride:
            unfold_pixels(self.network)
        self.temperature = temperature
        self.ood_detector = ood_detector

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map raw pixels, uint8 [N, 28, 28], to logits and probabilities [N, classes] and OOD scores [N]."""
        logits, features = self.network.logits_and_features(pixels[:, None])
        return logits, (logits / self.temperature).softmax(dim=1), self.ood_detector.score(features)


def members(network: Network) -> list[CNN]:
    """Return the networks that an average is of, or the one."""
    return [part for part in network.modules() if isinstance(part, CNN)]


def fold(network: Network) -> Network:
    """Fold every batch norm into the convolution before it, and rectify before pooling, which runtimes fuse.

    A `Step` keeps its norm: its convolution serves other steps with statistics of their own.
    """
    for member in members(network):
        for number, stage in enumerate(member.stages):
            layers: list[nn.Module] = []
            assert isinstance(stage, nn.Sequential)
            for layer in stage:  # not children(), which names a shared convolution once
                if isinstance(layer, nn.BatchNorm2d):
                    layers += folded(layers, layer)
                elif not isinstance(layer, nn.ReLU):
                    layers.append(layer)
            member.stages[number] = nn.Sequential(*layers)
    return network


def folded(layers: list[nn.Module], norm: nn.BatchNorm2d) -> list[nn.Module]:
    """Take a convolution, and a pooling where there is one, off a list; return them with a norm and a ReLU inside.

    A norm that turns a channel's sign round does not commute with pooling, and stays.
    """
    pool = [layers.pop()] if isinstance(layers[-1], nn.MaxPool2d) else []
    convolution = layers.pop()
    assert isinstance(convolution, nn.Conv2d)
    if pool and (norm.weight < 0).any():
        return [convolution, *pool, norm, nn.ReLU()]
    return [fuse_conv_bn_eval(convolution, norm), nn.ReLU(), *pool]


def unfold_pixels(network: Network) -> None:
    """Convolve pixels in strides of two, not squares of them folded into channels: the same sums without a copy.

    A looped network folds none.
    """
    for member in members(network):
        if member.config.looped:
            continue
        stage = member.stages[0]
        assert isinstance(stage, nn.Sequential)
        squares = stage[0]
        assert isinstance(squares, nn.Conv2d)
        pixels = nn.Conv2d(1, squares.out_channels, kernel_size=6, stride=2, padding=2)
        pixels.weight, pixels.bias = nn.Parameter(F.pixel_shuffle(squares.weight, 2)), squares.bias
        member.fold, stage[0] = nn.Identity(), pixels


def to_onnx(model: TorchModel, stride: bool = True) -> onnx.ModelProto:
    """Translate a model: uint8 [N, 28, 28] `pixels` to `logits`, `probabilities` and `ood_score`.

    Args:
        model: its network, temperature and ood_detector are inside.
        stride: whether the first convolution reads pixels in strides, which is faster in floats and slower in bytes.
    """
    exported = Exported(model.network, model.temperature, model.ood_detector, stride).eval()
    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which is not needed
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            exported,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["logits", "probabilities", "ood_score"],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for part in (*proto.graph.node, *proto.graph.value_info, proto.graph):
        part.ClearField("metadata_props")  # lines and paths of the source
        part.ClearField("doc_string")
    return proto


def quantized(proto: onnx.ModelProto, train: Pixels) -> onnx.ModelProto:
    """Compute convolutions and the last layer in eight bits, scales chosen on training images, uint8 [N, 28, 28]."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the images in batches, then None."""

        def __init__(self) -> None:
            self.batches = iter([{"pixels": batch} for batch in np.split(train, 10)])

        def get_next(self) -> dict[str, Pixels] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        logging.disable(logging.WARNING)  # a preprocessing that folding has done already
        quantize_static(
            proto,
            path,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MaxPool", "Relu", "ReduceMean", "Reshape"],
        )
        logging.disable(logging.NOTSET)
        return onnx.load(path)


def serialised(proto: onnx.ModelProto, metadata: dict[str, str]) -> bytes:
    """Check a model and turn it, with its metadata, into a file's bytes."""
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    return with_checksum(proto.SerializeToString())


def check_same(found: Floats, expected: Floats) -> None:
    """Check that two models give the same probabilities [N, classes].

    Raises:
        InputError: they do not.
    """
    difference = float(np.abs(found - expected).max())
    others = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if others or not difference <= MOST_DIFFERENCE:
        raise InputError(
            f"the exported probabilities differ by {difference:.1e} and {others} of {len(found)} answers from the "
            "checkpoint's; no file was written: report this with the checkpoint"
        )


def check_worth(small: bytes, large: bytes, images: Pixels) -> None:
    """Check that a quantised file is smaller than the other, and not slower: medians of alternating runs.

    Raises:
        InputError: it is not.
    """
    models = parse(small, "int8"), parse(large, "float32")
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(ROUNDS):
        for model, spent in zip(models, seconds, strict=True):
            start = time.perf_counter()
            model.infer(images)
            spent.append(time.perf_counter() - start)
    times = statistics.median(seconds[1]) / statistics.median(seconds[0])
    print(f"int8: {len(small):,} bytes instead of {len(large):,}, {times:.2f} times as fast", file=sys.stderr)
    if len(small) >= len(large) or times < 1:
        raise InputError("int8 is not both smaller and faster here; no file was written: leave --quantize out")


def accuracy_of(probabilities: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the share of right answers."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def export(file: Path, output: Path, quantize: bool = False, data_dir: Path | None = None) -> tuple[float, float]:
    """Write a checkpoint as .onnx, unless its answers on the test split differ.

    Args:
        file: the checkpoint.
        output: the file to write.
        quantize: whether to compute in eight bits. Answers may then differ a little, but the file must be worth it.
        data_dir: as in `load`.

    Returns:
        The accuracy of the checkpoint and of the file.

    Raises:
        InputError: the checkpoint or the dataset cannot be read, or the file fails its checks.
    """
    checkpoint = load_checkpoint(file)
    expected = TorchModel(checkpoint, file)
    dataset = with_classes(load_dataset(checkpoint.dataset, data_dir), checkpoint.classes, file)
    images, labels = dataset.test.images[:, 0].numpy(), dataset.test.labels.numpy()
    proto, metadata = to_onnx(expected), expected.metadata
    wanted = expected.infer(images)[0]
    accuracy = accuracy_of(wanted, labels)
    content = serialised(proto, metadata | {"accuracy": repr(accuracy)})
    found = parse(content, str(output)).infer(images)[0]
    check_same(found, wanted)
    if quantize:
        small = quantized(to_onnx(expected, stride=False), dataset.train.images[:CALIBRATE, 0].numpy())
        found = parse(serialised(small, metadata), str(output)).infer(images)[0]
        small_content = serialised(small, metadata | {"accuracy": repr(accuracy_of(found, labels))})
        check_worth(small_content, content, images[:500])
        content = small_content
    with atomic_write(output) as temporary:
        temporary.write_bytes(content)
    return accuracy, accuracy_of(found, labels)


def command(
    checkpoint: Path = DEFAULT,
    output: Annotated[Path | None, arg(help_behavior_hint="(default: beside the checkpoint)")] = None,
    quantize: Literal["int8"] | None = None,
    web: Path | None = None,
    runtime: Path = Path("node_modules/onnxruntime-web"),
    data_dir: Path | None = None,
) -> None:
    """Write a trained model as one .onnx file, which predicts without PyTorch; with --web, a page without a server too.

    Args:
        checkpoint: The trained model; where the default is missing, the one that ships with the checkout.
        output: The file to write, an .onnx.
        quantize: Compute in eight bits; kept only where that is smaller and faster.
        web: Folder to write the drawing page to, with the model: static files for any web host.
        runtime: Folder of npm's package onnxruntime-web, for --web.
        data_dir: Folder with the data to compare on, looked in before $MNIST_CNN_DATA and ./data.
    """
    checkpoint = or_shipped(checkpoint)
    path = output or (web / "web" / "mnist_cnn.onnx" if web else checkpoint.with_suffix(".onnx"))
    if path.suffix != ".onnx":
        raise InputError(f"--output is {path}; its name must end in .onnx")
    if web:
        check_runtime(runtime)
    check_writable(path.parent, "--output" if output or not web else "--web")
    before, after = export(checkpoint, path, quantize == "int8", data_dir)
    print(f"{path}: {path.stat().st_size:,} bytes, accuracy {after:.2%} ({checkpoint.name}: {before:.2%})")
    if web:
        write_page(path, web, runtime)
        print(f"page: {web / 'index.html'}; any web server shows it, such as python -m http.server --directory {web}")


def main(argv: Sequence[str] | None = None, prog: str = "export.py") -> None:
    """Run the command line."""
    with exit_codes():
        parse_call(command, argv, prog)()


if __name__ == "__main__":
    main(sys.argv[1:])
