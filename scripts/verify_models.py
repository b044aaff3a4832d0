"""Check the networks that ship against saved_models/SHA256SUMS, and say which command rebuilds each."""

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUMS = ROOT / "saved_models" / "SHA256SUMS"
READER = "runs/reader/saved_models/mnist_reader_final.pth"
REBUILT_BY = {
    "saved_models/mnist_cnn_final.pth": ("python src/main.py",),
    "src/mnist_cnn.onnx": (
        "mnist-cnn train --preset reader --output-dir runs/reader",
        f"mnist-cnn export --checkpoint {READER} --quantize float16 --output src/mnist_cnn.onnx",
    ),
    "src/spotter.onnx": (
        "mnist-cnn train-spotter --output runs/spotter.onnx",
        "cp runs/spotter.onnx src/spotter.onnx",
    ),
}
"""The commands that make each file, with MNIST. Other hardware and versions round otherwise: not to the same bytes."""


def sums() -> str:
    """Hash the files, in the format of sha256sum."""
    lines = (f"{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}  {name}\n" for name in REBUILT_BY)
    return "".join(lines)


def main() -> None:
    """Check, or write the hashes anew; exit with 1 if a file is not the one that was committed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the hashes of the files as they are")
    if parser.parse_args().write:
        SUMS.write_text(sums(), encoding="utf-8")
    committed = SUMS.read_text(encoding="utf-8").splitlines()
    changed = 0
    for line, (name, commands) in zip(sums().splitlines(), REBUILT_BY.items(), strict=True):
        intact = line in committed
        changed += not intact
        print(f"{name}: {'as committed' if intact else 'NOT the file that was committed'}, {line[:16]}...")
        print("".join(f"    {command}\n" for command in commands), end="")
    sys.exit(min(changed, 1))


if __name__ == "__main__":
    main()
