"""Compiles exported C for microcontrollers and counts, in QEMU, what it executes."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_cnn.common.errors import InputError
from mnist_cnn.pictures.image_io import Pixels

BOARD = Path(__file__).parent / "chip_board"
CONSOLE = ("-display", "none", "-serial", "none", "-monitor", "none")
SEMIHOSTING = ("-semihosting-config", "enable=on,target=native")
TRANSFER = re.compile(r"(ldr|str)(b|h|sb|sh|d)?")
MULTIPLE = re.compile(r"(ldm|stm)\w*|push|pop")
CONDITIONAL = re.compile(r"b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)|cbn?z")


@dataclass(frozen=True)
class Core:
    """A processor core.

    Attributes:
        flags: for the compiler.
        machine: QEMU's board.
        branch: cycles of a branch that is taken.
        call: cycles of a call.
        popped: cycles of a return by pop, besides one and one per register.
    """

    flags: tuple[str, ...]
    machine: str
    branch: int
    call: int
    popped: int


CORES = {
    "Cortex-M0+": Core(("-mcpu=cortex-m0plus", "-mthumb"), "mps2-an385", branch=2, call=3, popped=2),
    "Cortex-M4": Core(("-mcpu=cortex-m4", "-mthumb"), "mps2-an386", branch=3, call=3, popped=2),
}
"""Cycles of Arm's manuals, DDI 0484C (Cortex-M0+) and DDI 0439B (Cortex-M4), their tables 3-1, the M4's pipeline
refilled in two; the M0+ with the multiplier of one cycle, memory without wait states."""
RISC_V = {"RV32IMC": ("rv32imc", "ilp32"), "RV32EC": ("rv32ec", "ilp32e")}


def run(command: Sequence[str | Path], folder: Path, content: bytes | None = None) -> str:
    """Run a command and return its standard output.

    Raises:
        InputError: it is not installed, or fails.
    """
    if shutil.which(str(command[0])) is None:
        raise InputError(f"{command[0]} is not installed; README names the packages, or leave that core out")
    result = subprocess.run(command, cwd=folder, input=content, capture_output=True)
    if result.returncode:
        raise InputError(f"{command[0]} fails: {' '.join(result.stderr.decode().split())[:300]}")
    return result.stdout.decode()


def as_idx(images: Pixels) -> bytes:
    """Write images, uint8 [N, 28, 28], as the content of an IDX file."""
    return np.array([0x803, *images.shape], ">u4").tobytes() + images.tobytes()


def logits_of(output: str) -> Any:
    """Read the logits, int64 [N, classes], from a program's lines."""
    return np.array([line.split()[1:] for line in output.splitlines()], np.int64)


def on_this_computer(folder: Path, images: Pixels) -> Any:
    """Compile with sanitizers, warnings being errors, and return the logits, int64 [N, classes]."""
    flags = ("-O2", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    run(["gcc", *flags, "main.c", "mnist_cnn.c", "-o", "checked"], folder)
    return logits_of(run([folder / "checked"], folder, as_idx(images)))


def flash(folder: Path, core: Core, level: str) -> dict[str, int]:
    """Return the bytes of flash and RAM of an image that holds the network and what it needs of the C library."""
    flags = (level, "-std=c99", "-ffunction-sections", "--specs=nano.specs", "-nostartfiles")
    link = ("-Wl,--gc-sections", "-Wl,-e,mnist_cnn_predict")
    run(["arm-none-eabi-gcc", *core.flags, *flags, *link, "mnist_cnn.c", "-o", "alone.elf"], folder)
    text, data, bss = run(["arm-none-eabi-size", "alone.elf"], folder).splitlines()[1].split()[:3]
    return {"flash": int(text) + int(data), "ram": int(data) + int(bss)}


def risc_v_flash(folder: Path, arch: str, abi: str) -> int:
    """Return the bytes of code and tables for RISC-V, -Os, without what is needed of the C library."""
    flags = (f"-march={arch}", f"-mabi={abi}", "-Os", "-std=c99", "-ffreestanding")
    run(["riscv64-unknown-elf-gcc", *flags, "-c", "mnist_cnn.c", "-o", "riscv.o"], folder)
    return int(run(["riscv64-unknown-elf-size", "riscv.o"], folder).splitlines()[1].split()[0])


def counted(folder: Path, core: Core, level: str, images: Pixels) -> tuple[Any, dict[str, float]]:
    """Run on QEMU's board.

    Returns:
        The logits, int64 [N, classes], and per image: instructions and estimated cycles.
    """
    plugin, counts = folder / "count.so", folder / "counts.txt"
    run(["gcc", "-O2", "-shared", "-fPIC", str(BOARD / "count.c"), "-o", plugin], folder)
    flags = (*core.flags, level, "-std=c99", f"-T{BOARD / 'mps2.ld'}", "--specs=rdimon.specs")
    run(["arm-none-eabi-gcc", *flags, "main.c", "mnist_cnn.c", str(BOARD / "vectors.c"), "-o", "board.elf"], folder)
    run(["arm-none-eabi-gcc", *core.flags, level, "-std=c99", "-c", "mnist_cnn.c", "-o", "board.o"], folder)
    machine = ("qemu-system-arm", "-M", core.machine, "-kernel", "board.elf", *CONSOLE, *SEMIHOSTING)
    output = run([*machine, "-plugin", f"{plugin},counts={counts}"], folder, as_idx(images))
    symbols = [line.split()[-2:] for line in run(["arm-none-eabi-nm", "board.o"], folder).splitlines()]
    own = {name for kind, name in symbols if kind in "tTU"}
    instructions = disassembled(folder)
    executed = cycles = 0
    for line in counts.read_text().splitlines():
        place, count, taken = int(line.split()[0], 16), *map(int, line.split()[1:])
        function, instruction = instructions.get(place, ("", ""))
        if function in own:
            executed += count
            cycles += cycles_of(instruction, count, taken, core)
    return logits_of(output), {"instructions": executed / len(images), "cycles": cycles / len(images)}


def disassembled(folder: Path) -> dict[int, tuple[str, str]]:
    """Return the function and the text of the instruction at each address."""
    found, function = {}, ""
    for line in run(["arm-none-eabi-objdump", "-d", "board.elf"], folder).splitlines():
        if head := re.match(r"^[0-9a-f]+ <(.*)>:", line):
            function = head[1]
        elif row := re.match(r"^\s*([0-9a-f]+):\t[0-9a-f ]+\t(\S+)(?:\t([^@;]*))?", line):
            found[int(row[1], 16)] = function, f"{row[2]} {row[3] or ''}".strip()
    return found


def cycles_of(instruction: str, count: int, taken: int, core: Core) -> int:
    """Estimate the cycles of an instruction that was executed `count` times and left by a branch `taken` times.

    Two for a transfer, one and one per register for several, one for arithmetic and a branch that is not taken.
    """
    name = instruction.split()[0].removesuffix(".n").removesuffix(".w")
    if MULTIPLE.fullmatch(name):
        registers = instruction[instruction.index("{") :].count(",") + 1
        return count * (1 + registers + (core.popped if "pc" in instruction else 0))
    if TRANSFER.fullmatch(name):
        return 2 * count
    if name in ("bl", "blx"):
        return core.call * count
    if name in ("b", "bx") or CONDITIONAL.fullmatch(name):
        return count + (core.branch - 1) * taken
    return count
