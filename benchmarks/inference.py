"""How fast digits are read: by ONNX Runtime, in eight bits, and by what else could run the network."""

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import openvino
import torch
from matrix import matrix_rate
from PIL import Image
from results import keep, spread
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mnist_cnn.classifier import Classifier
from mnist_cnn.common.console import exit_codes, parse_call
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.experiments.study import environment
from mnist_cnn.export import Quantized, export
from mnist_cnn.models.checkpoint import SHIPPED
from mnist_cnn.models.onnx_model import PACKAGED, load_onnx
from mnist_cnn.models.torch_model import TorchModel, load_torch
from mnist_cnn.pictures.image_io import PictureSource, Pixels
from mnist_cnn.training.config import PRESETS

PHOTO = Path(__file__).parent.parent / "images" / "own_digit.jpg"
PAUSE = 0.2  # seconds
BLOCK = 5  # calls
Look = Callable[[Pixels], object]
Seconds = dict[str, list[float]]


def compiled(model: TorchModel) -> Look:
    """Compile a PyTorch model's network."""
    network = torch.compile(model.network, dynamic=True)

    @torch.inference_mode()
    def look(images: Pixels) -> object:
        return network(torch.from_numpy(images[:, None])).softmax(dim=1)

    return look


def by_openvino(path: Path) -> Look:
    """Run an .onnx file by OpenVINO instead."""
    model = openvino.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda images: model([images])


def exported(folder: Path, data_dir: Path | None, quantize: Quantized | None = None) -> Path:
    """Export the network of `main.py`, once for each form.

    Raises:
        InputError: int8 is not worth it here.
    """
    path = folder / f"{quantize}.onnx"
    if not path.exists():
        export(SHIPPED, path, quantize, data_dir)
    return path


RUNTIMES: dict[str, Callable[[Path, Path | None], Look]] = {
    "ONNX Runtime, float32": lambda folder, data: load_onnx(exported(folder, data)).infer,
    "ONNX Runtime, int8": lambda folder, data: load_onnx(exported(folder, data, "int8")).infer,
    "OpenVINO": lambda folder, data: by_openvino(exported(folder, data)),
    "PyTorch, eager": lambda *_: load_torch(SHIPPED).infer,
    "PyTorch, torch.compile": lambda *_: compiled(load_torch(SHIPPED)),
    "the reader, ONNX Runtime": lambda *_: load_onnx(PACKAGED).infer,
}
"""The network of `main.py` in every way, and the reader as it ships."""


def alternating(contenders: dict[str, Look], images: Pixels, rounds: int) -> Seconds:
    """Time each contender on the same images: in turn, a block of calls each, after some that warm up.

    The pause lets the threads of the one before, which spin for a while, come to rest.
    """
    seconds: Seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, look in contenders.items():
            time.sleep(PAUSE)
            for number in range(2 * BLOCK):
                start = time.perf_counter()
                look(images)
                if number >= BLOCK:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def cold_starts(rounds: int) -> tuple[list[float], float]:
    """Return the seconds of `mnist-cnn predict` on a photo, from shell to answer, and its peak memory in MiB."""
    program = (Path(sys.executable).with_name("mnist-cnn"), "predict", PHOTO)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(program, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    code = "import sys; from mnist_cnn.cli import main; main(['predict', sys.argv[1]]); "
    code += "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    result = subprocess.run([sys.executable, "-c", code, PHOTO], check=True, capture_output=True, text=True)
    return seconds, int(result.stdout.splitlines()[-1]) / 1024


def photo_of_one_megapixel() -> bytes:
    """Return a photo of one digit as JPEG."""
    photo = Image.open(PHOTO)
    side = (1_000_000 / (photo.width * photo.height)) ** 0.5
    large = io.BytesIO()
    photo.resize((round(photo.width * side), round(photo.height * side))).save(large, "JPEG", quality=90)
    return large.getvalue()


def page_of_digits(images: Pixels) -> bytes:
    """Write 1,024 of the images [N, 28, 28], repeated if they are fewer, in 32 rows on a page, as PNG."""
    cells = np.pad(255 - np.resize(images, (1024, 28, 28)), ((0, 0), (6, 6), (6, 6)), constant_values=255)
    page = cells.reshape(32, -1, 40, 40).transpose(0, 2, 1, 3).reshape(1280, -1)
    return as_png(np.ascontiguousarray(page))


def on_one_core(picture: bytes, method: str, rounds: int) -> list[float]:
    """Return the seconds that a method of `Classifier` takes for the bytes of a picture, in a process on one core."""
    code = (
        "import os, sys, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from mnist_cnn.classifier import Classifier\n"
        f"picture, method = sys.stdin.buffer.read(), Classifier.load().{method}\n"
        "for _ in range(2 + int(sys.argv[1])):\n"
        "    start = time.perf_counter(); method(picture); print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code, str(rounds)]
    result = subprocess.run(command, input=picture, check=True, capture_output=True)
    return [float(line) for line in result.stdout.split()][2:]


def a_second(classifier: Classifier, images: list[PictureSource], rounds: int) -> list[float]:
    """Return how many pictures a second are read, from pictures to predictions."""
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        classifier.predict(images)
        rates.append(len(images) / (time.perf_counter() - start))
    return rates


def as_png(image: Pixels) -> bytes:
    """Write an image as a PNG file in memory."""
    return bytes(cv2.imencode(".png", image)[1])


def operations() -> int:
    """Count the floating-point operations of the default network's convolutions and last layer for one image."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        load_torch(SHIPPED).network(torch.zeros(1, 1, 28, 28))
    return int(counter.get_total_flops())


def table(result: dict[str, Any]) -> str:
    """Lay out both parts."""
    lines = ["| runtime | one image, µs (p50) | images a second, batches of 500 | times eager |", "|---|---|---|---|"]
    eager = statistics.median(result["batch"]["PyTorch, eager"])
    for name, one in result["one"].items():
        batch = result["batch"][name]
        rates = spread([500 / seconds for seconds in batch])
        times = eager / statistics.median(batch)
        lines.append(f"| {name} | {1e6 * statistics.median(one):,.0f} | {rates} | {times:.1f} |")
    floor = result["matrix_rate"] / result["operations"]
    lines += [
        "",
        (
            f"The machine's float32 matrix rate, {result['matrix_rate'] / 1e9:,.0f} GFLOP/s, allows {floor:,.0f} "
            f"images a second of {result['operations'] / 1e6:.1f} MFLOP each."
        ),
        "",
        "| from picture to answer | median (range) |",
        "|---|---|",
        f"| `mnist-cnn predict photo.jpg`, from shell to answer, s | {spread(result['cold_start'], 2)} |",
        f"| its peak memory, MiB | {result['peak_mib']:.0f} |",
        f"| a photo of one megapixel, in memory, one core, ms | {spread([1000 * s for s in result['photo']], 1)} |",
        f"| a page of 1,024 digits, in memory, one core, ms | {spread([1000 * s for s in result['page']])} |",
        f"| 28x28 arrays a second | {spread(result['arrays'])} |",
        f"| 28x28 PNG files in memory a second | {spread(result['files'])} |",
        "",
        (
            f"{result['rounds']} alternating rounds, {result['hardware']}, "
            f"PyTorch {result['versions']['torch']}, Python {result['versions']['python']}."
        ),
    ]
    return "\n".join(lines) + "\n"


def command(
    rounds: int = 11,
    images: int = 10_000,
    only: tuple[str, ...] = tuple(RUNTIMES),
    data_dir: Path | None = None,
    output: Path = Path("benchmarks"),
) -> None:
    """Measure how fast digits are read.

    Args:
        rounds: Of each measurement.
        images: Of the test split that are read from picture to answer.
        only: Which runtimes; PyTorch, eager has to be among them.
        data_dir: Folder with MNIST, looked in before $MNIST_CNN_DATA and ./data.
        output: Gets inference.json and .md.
    """
    test = load_dataset("mnist", data_dir).test.images[:images, 0].numpy()
    classifier = Classifier.load()
    with TemporaryDirectory() as folder, tqdm(total=7, desc="measurements") as bar:
        runtimes = {name: RUNTIMES[name](Path(folder), data_dir) for name in only}
        result: dict[str, Any] = {"rounds": rounds, **environment(PRESETS["default"].train)}
        for name, measure in (
            ("one", lambda: alternating(runtimes, test[:1], 3 * rounds)),
            ("batch", lambda: alternating(runtimes, test[:500], rounds)),
            ("cold_start", lambda: cold_starts(rounds)),
            ("photo", lambda: on_one_core(photo_of_one_megapixel(), "predict", rounds)),
            ("page", lambda: on_one_core(page_of_digits(test), "read", rounds)),
            ("arrays", lambda: a_second(classifier, list(test), 3)),
            ("files", lambda: a_second(classifier, [as_png(image) for image in test], 3)),
        ):
            result[name] = measure()
            bar.update()
    result["cold_start"], result["peak_mib"] = result["cold_start"]
    result |= {"matrix_rate": matrix_rate(rounds), "operations": operations()}
    keep(output, "inference", result, table(result))


if __name__ == "__main__":
    with exit_codes():
        parse_call(command, None, "inference.py")()
