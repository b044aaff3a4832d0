"""The C code computes what the integer reference does, which computes what the network does, on computer and chip."""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from compilers import SANITIZED, STRICT, answers, compile_program, need
from test_checkpoint import make_checkpoint

from conftest import ROOT, Program, assert_one_line_error
from mnist_cnn.chip.c_export import write_c
from mnist_cnn.chip.c_source import c_files
from mnist_cnn.chip.integer_network import LOGIT_UNIT, IntegerNetwork
from mnist_cnn.chip.packing import packed_bytes, packed_nibbles, sizes_of
from mnist_cnn.chip.quantization import per_channel, quantized
from mnist_cnn.cnn_model import CNN, ModelConfig, QuantizedConv2d, build
from mnist_cnn.data_loader import DIGITS
from mnist_cnn.evaluate import infer
from mnist_cnn.models.checkpoint import save_checkpoint
from mnist_cnn.pictures.image_io import Pixels
from mnist_cnn.splits import Dataset
from mnist_cnn.train import fit
from mnist_cnn.training.config import PRESETS

BOARD = ROOT / "benchmarks" / "chip_board"
SHAPES = {
    "fast": ModelConfig(stages=((6,), (9,), (8,))),
    "tiny": ModelConfig(stages=((10, 10), (10, 10), (10,)), shared=True, average=True),
    "micro": ModelConfig(stages=((4,), (11, 11), (11, 11)), looped=True, average=True, class_maps=True),
    "looped": ModelConfig(stages=((7,), (7, 7), (7, 7)), looped=True, average=True),
    "chip": ModelConfig(stages=((8,), (12, 12), (16,)), average=True, weight_bits=4),
    "chip, three classes": ModelConfig(stages=((8,), (12, 12)), classes=3, average=True, weight_bits=3),
}


def network_of(config: ModelConfig, digits: Dataset) -> CNN:
    """Make an untrained network with the statistics of images and norms of both signs."""
    torch.manual_seed(0)
    network = CNN(config).train()
    with torch.no_grad():
        for _ in range(30):
            network(digits.train.images[:200])
    for norm in (layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.weight, mean=0.7, std=0.5)
        torch.nn.init.normal_(norm.bias, std=0.3)
    torch.nn.init.normal_(next(network.classifier.parameters()), std=1)
    return network.eval()


def integers_of(name: str, digits: Dataset) -> IntegerNetwork:
    config = SHAPES[name]
    return quantized(network_of(config, digits), DIGITS[: config.classes], digits.train.images[:300], Path("net.pth"))


def hard_images(digits: Dataset) -> Pixels:
    """Gather digits, inverted ones, noise, plain and faint images."""
    rng, some = np.random.default_rng(0), digits.test.images[:60, 0].numpy()
    extremes = (255 * rng.integers(0, 2, (20, 28, 28))).astype(np.uint8)
    plain = [np.full((1, 28, 28), level, np.uint8) for level in (0, 1, 127, 255)]
    noise = rng.integers(0, 256, (20, 28, 28)).astype(np.uint8)
    return np.concatenate([some, 255 - some, extremes, noise, some // 100, some // 3 + 90, *plain])


def write(network: IntegerNetwork, folder: Path) -> None:
    for name, text in c_files(network, "net.pth").items():
        (folder / name).write_text(text)


@pytest.mark.parametrize("name", SHAPES)
def test_c_gives_the_references_logits_and_breaks_no_rule(name: str, digits: Dataset, tmp_path: Path) -> None:
    gcc = need("gcc", promised=True)
    network, images = integers_of(name, digits), hard_images(digits)
    write(network, tmp_path)
    classes, logits = answers([compile_program(tmp_path, gcc, *SANITIZED)], images)
    expected = network.infer(images)
    assert expected.std() > 50
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(classes, expected.argmax(axis=1))


@pytest.mark.parametrize("name", SHAPES)
def test_integers_compute_what_the_network_does(name: str, digits: Dataset) -> None:
    expected = infer(network_of(SHAPES[name], digits), digits.test).numpy()
    found = integers_of(name, digits).infer(digits.test.images[:, 0].numpy()) / LOGIT_UNIT
    assert np.abs(found - expected).mean() < 0.04 * expected.std()
    changed = found.argmax(axis=1) != expected.argmax(axis=1)
    first, second = np.sort(expected, axis=1)[:, :-3:-1].T
    assert not changed[first - second > 0.3 * expected.std()].any()
    assert changed.mean() < 0.1


@pytest.mark.parametrize(("compiler", "flags"), [("clang", ("-O2",)), ("gcc", ("-m32", "-O1")), ("gcc", ("-O0",))])
def test_other_compilers_agree(compiler: str, flags: tuple[str, ...], digits: Dataset, tmp_path: Path) -> None:
    need(compiler)
    probe = tmp_path / "probe.c"
    probe.write_text("#include <stdio.h>\nint main(void) { return 0; }\n")
    if subprocess.run([compiler, *flags, probe, "-o", tmp_path / "probe"], capture_output=True).returncode:
        pytest.skip(f"{compiler} {' '.join(flags)} links no program here")
    network, images = integers_of("chip", digits), hard_images(digits)
    write(network, tmp_path)
    logits = answers([compile_program(tmp_path, compiler, *flags)], images)[1]
    np.testing.assert_array_equal(logits, network.infer(images))


@pytest.mark.parametrize("name", ["micro", "chip"])
@pytest.mark.parametrize(("core", "machine"), [("cortex-m0plus", "mps2-an385"), ("cortex-m4", "mps2-an386")])
def test_a_board_agrees(name: str, core: str, machine: str, digits: Dataset, tmp_path: Path) -> None:
    compiler, board = need("arm-none-eabi-gcc"), need("qemu-system-arm")
    network, images = integers_of(name, digits), digits.test.images[:10, 0].numpy()
    write(network, tmp_path)
    place = (str(BOARD / "vectors.c"), f"-T{BOARD / 'mps2.ld'}", "--specs=rdimon.specs")
    program = compile_program(tmp_path, compiler, f"-mcpu={core}", "-mthumb", "-O2", *place)
    console = ("-display", "none", "-serial", "none", "-monitor", "none")
    semihosting = ("-semihosting-config", "enable=on,target=native")
    logits = answers([board, "-M", machine, "-kernel", program, *console, *semihosting], images)[1]
    np.testing.assert_array_equal(logits, network.infer(images))


@pytest.mark.parametrize("arch", ["rv32imc", "rv32ec"])
def test_a_risc_v_compiler_takes_it(arch: str, digits: Dataset, tmp_path: Path) -> None:
    compiler = need("riscv64-unknown-elf-gcc")
    write(integers_of("micro", digits), tmp_path)
    abi = "ilp32e" if arch == "rv32ec" else "ilp32"
    command = [compiler, f"-march={arch}", f"-mabi={abi}", "-ffreestanding", "-Os", *STRICT, "-c", "mnist_cnn.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "mnist_cnn.o").stat().st_size > 1000


def test_the_compiled_tables_and_buffers_have_the_counted_size(digits: Dataset, tmp_path: Path) -> None:
    need("gcc", promised=True)
    network = integers_of("chip", digits)
    write(network, tmp_path)
    subprocess.run(["gcc", *STRICT, "-Os", "-c", "mnist_cnn.c"], cwd=tmp_path, check=True)
    listing = subprocess.run(["nm", "-S", "mnist_cnn.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    sizes = {"r": 0, "b": 0}
    for _, size, kind, name in (line.split() for line in listing.stdout.splitlines() if len(line.split()) == 4):
        if kind in sizes and name != "layers":
            sizes[kind] += int(size, 16)
    assert (sizes["r"], sizes["b"]) == (sizes_of(network).tables, sizes_of(network).ram)


def test_multiply_adds_are_those_that_a_walk_over_the_taps_counts(digits: Dataset) -> None:
    network, total = integers_of("chip", digits), 0
    for number, layer in enumerate(network.layers):
        used = layer.side // layer.pool * layer.pool
        for place in range(used * used):
            for tap in range(9):
                y, x = place // used + tap // 3 - 1, place % used + tap % 3 - 1
                inside = 0 <= y < layer.side and 0 <= x < layer.side
                total += (inside or number == 0) * layer.inputs * layer.outputs
    assert sizes_of(network).multiply_adds == total + network.inputs * 10


def test_weights_are_packed_as_documented() -> None:
    rows = np.array([[1, -2, 3, -4], [5, -6, 7, -7], [0, 1, 0, -1]])
    words = packed_nibbles(rows)
    assert [hex(word) for word in words] == ["0x1f2d4b69", "0x88887898"]
    assert packed_bytes(rows[2:]).tolist() == [128, 128, 129, 128, 128, 128, 127, 128]


def test_quantized_weights_stay_as_they_are() -> None:
    convolution = QuantizedConv2d(5, 6, bits=4)
    once = convolution.quantized()
    integers, scale = per_channel(once.detach().double().numpy(), 4)
    np.testing.assert_allclose(integers * scale[:, None, None, None], once.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert np.abs(integers).max() == 7
    images = torch.rand(1, 5, 8, 8)
    torch.testing.assert_close(convolution.plain()(images), convolution(images))
    convolution(images).sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.abs().min() > 0


def test_every_test_image_of_a_trained_network(mnist: Dataset, tmp_path: Path) -> None:
    gcc = need("gcc", promised=True)
    checkpoint = fit(mnist, dataclasses.replace(PRESETS["fast"].train, output_dir=tmp_path, device="cpu"))
    save_checkpoint(checkpoint, tmp_path / "fast.pth")
    written = write_c(tmp_path / "fast.pth", tmp_path / "c")
    classes, _ = answers([compile_program(tmp_path / "c", gcc, "-O2")], mnist.test.images[:, 0].numpy())
    assert (classes == mnist.test.labels.numpy()).mean() == written.accuracy > 0.98
    assert abs(written.accuracy - written.float_accuracy) <= 0.0005


def test_the_command_writes_all_files_and_what_they_take(program: Program, digits: Dataset, tmp_path: Path) -> None:
    network = network_of(SHAPES["chip"], digits)
    checkpoint = dataclasses.replace(make_checkpoint(), model_config=network.config, state_dict=network.state_dict())
    save_checkpoint(checkpoint, tmp_path / "net.pth")
    result = program("export.py", "--c", "out", "--checkpoint", "net.pth")
    assert result.returncode == 0, result.stderr
    names = ["Makefile", "README.md", "main.c", "mnist_cnn.c", "mnist_cnn.h"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    sizes = sizes_of(integers_of("chip", digits))
    assert f"{sizes.tables:,} bytes of weights" in result.stdout
    readme = (tmp_path / "out" / "README.md").read_text()
    assert all(f"{value:,}" in readme for value in (sizes.tables, sizes.ram, sizes.multiply_adds))
    if shutil.which("make") and shutil.which("gcc"):
        subprocess.run(["make", "-s"], cwd=tmp_path / "out", check=True)
        for wrong in (b"", b"\0\0\x08\x03", b"\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c" + bytes(784)):
            told = subprocess.run([tmp_path / "out" / "mnist_cnn"], input=wrong, capture_output=True)
            assert told.returncode == 2
            assert told.stderr.count(b"\n") == 1


def test_what_no_c_can_be_written_of_is_refused(program: Program, tmp_path: Path) -> None:
    for name, config, words in (
        ("large", ModelConfig(), ("weights", "16 bits", "--preset chip")),
        ("wide", ModelConfig(stages=((1340,), (1,)), average=True), ("maps of up to 65,660 values", "16 bits")),
        ("both", ModelConfig(stages=((4,),), members=2), ("several networks", "--checkpoint")),
    ):
        untrained = dataclasses.replace(make_checkpoint(), model_config=config, state_dict=build(config).state_dict())
        save_checkpoint(untrained, tmp_path / f"{name}.pth")
        assert_one_line_error(program("export.py", "--c", "out", "--checkpoint", f"{name}.pth"), name, *words)
    assert_one_line_error(program("export.py", "--c", "out", "--output", "a.onnx"), "--c writes C only")
    assert not (tmp_path / "out").exists()


def test_the_arduino_sketch_compiles(digits: Dataset, tmp_path: Path) -> None:
    compiler = need("avr-g++")
    core = Path("/usr/share/arduino/hardware/arduino/avr")
    if not core.is_dir():
        pytest.skip("the core of AVR boards is not installed (Debian: arduino-core-avr)")
    write(integers_of("chip", digits), tmp_path)
    sketch = ROOT / "examples" / "arduino" / "mnist_cnn" / "mnist_cnn.ino"
    board = ("-mmcu=atmega2560", "-DF_CPU=16000000L", "-DARDUINO=10819", f"-I{core / 'cores/arduino'}")
    places = (*board, f"-I{core / 'variants/mega'}", f"-I{tmp_path}", "-include", "Arduino.h")
    command = [
        compiler,
        "-std=gnu++11",
        "-Os",
        "-Wall",
        "-Werror",
        "-Wno-error=cpp",
        *places,
        "-x",
        "c++",
        "-c",
        str(sketch),
    ]
    subprocess.run([*command, "-o", "sketch.o"], cwd=tmp_path, check=True)
    subprocess.run(["avr-gcc", "-mmcu=atmega2560", "-Os", *STRICT, "-c", "mnist_cnn.c"], cwd=tmp_path, check=True)


@pytest.mark.long
def test_the_micropython_module_answers_as_the_reference(digits: Dataset, tmp_path: Path) -> None:
    source = os.environ.get("MICROPYTHON")
    if not source:
        pytest.skip("$MICROPYTHON names no folder with MicroPython's sources")
    modules = tmp_path / "modules"
    shutil.copytree(ROOT / "examples" / "micropython", modules)
    network, images = integers_of("chip", digits), hard_images(digits)[:20]
    write(network, modules / "mnist_cnn")
    port, folder = Path(source) / "ports" / "unix", tmp_path / "build"
    settings = ("VARIANT=minimal", f"USER_C_MODULES={modules}", f"BUILD={folder}", "PROG=micropython")
    subprocess.run([need("make"), "-s", "-j2", "-C", port, *settings], check=True)
    program = "import mnist_cnn\n" + "".join(
        f"print(mnist_cnn.predict(bytes({image.flatten().tolist()}))[1])\n" for image in images
    )
    refused = "try:\n    mnist_cnn.predict(b'x')\nexcept ValueError as error:\n    print(error)\n"
    (tmp_path / "program.py").write_text(program + refused)
    told = subprocess.check_output([folder / "micropython", tmp_path / "program.py"], text=True)
    *logits, complaint = told.splitlines()
    np.testing.assert_array_equal([json.loads(line) for line in logits], network.infer(images))
    assert complaint == "give 784 bytes: 28 rows of 28 grey levels"
