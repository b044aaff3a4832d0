"""Writes a checkpoint as C: reads it, quantizes it, checks it on the test split, writes the files."""

from dataclasses import dataclass
from pathlib import Path

from mnist_cnn.chip.c_source import c_files
from mnist_cnn.chip.packing import Sizes, sizes_of
from mnist_cnn.chip.quantization import quantized
from mnist_cnn.common.files import atomic_write, check_writable
from mnist_cnn.data_loader import load_dataset
from mnist_cnn.evaluate import infer
from mnist_cnn.models.checkpoint import load_checkpoint
from mnist_cnn.splits import with_classes

CALIBRATION_IMAGES = 1000  # of the training split


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of a checkpoint in C.

    Attributes:
        sizes: bytes and operations.
        accuracy: of the integers on the test split, 0..1.
        float_accuracy: of the checkpoint on the test split, 0..1.
    """

    sizes: Sizes
    accuracy: float
    float_accuracy: float


def write_c(file: Path, folder: Path, data_dir: Path | None = None, network: str | None = None) -> Written:
    """Write a checkpoint's network as C files.

    Args:
        file: the checkpoint.
        folder: gets mnist_cnn.h, mnist_cnn.c, main.c, Makefile and README.md, each whole or not at all.
        data_dir: as in `load_dataset`.
        network: as in `load_checkpoint`.

    Raises:
        InputError: the checkpoint or its dataset cannot be read, no C can be written of such a network, it is too large
            for sizes of 16 bits, or the folder cannot be written to. Nothing was written then.
    """
    checkpoint = load_checkpoint(file, network)
    model = checkpoint.build_model()
    dataset = with_classes(load_dataset(checkpoint.dataset, data_dir), checkpoint.classes, file)
    integers = quantized(model, checkpoint.classes, dataset.train.images[:CALIBRATION_IMAGES], file)
    labels = dataset.test.labels.numpy()
    found = integers.infer(dataset.test.images[:, 0].numpy()).argmax(axis=1)
    expected = infer(model, dataset.test).numpy().argmax(axis=1)
    check_writable(folder, "--c")
    for name, text in c_files(integers, file.name).items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return Written(
        sizes=sizes_of(integers),
        accuracy=float((found == labels).mean()),
        float_accuracy=float((expected == labels).mean()),
    )
