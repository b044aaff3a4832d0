"""Writes an integer network as C source, from the parts in templates/."""

import math
from collections.abc import Iterable
from pathlib import Path
from string import Template

from mnist_cnn.chip.integer_network import IntegerLayer, IntegerNetwork
from mnist_cnn.chip.packing import map_sizes, packed_bytes, packed_nibbles, rows_of, sizes_of, widest

TEMPLATES = Path(__file__).parent / "templates"
LINE = 110  # columns of a table
BLOCK_FIELDS = """    const int8_t *depthwise; /* of a residual block, else null */
    const int8_t *pointwise;
    int32_t skip_multiplier;
    uint8_t depthwise_shift;
"""


def c_files(network: IntegerNetwork, name: str) -> dict[str, str]:
    """Return the content of each file that makes up a network in C.

    Args:
        network: the network.
        name: what it is called in its README.
    """
    sizes = sizes_of(network)
    values = {
        "name": name,
        "classes": ", ".join(network.classes),
        "count": str(len(network.classes)),
        "bits": str(network.bits),
        "tables": f"{sizes.tables:,}",
        "ram": f"{sizes.ram:,}",
        "multiply_adds": f"{sizes.multiply_adds:,}",
    }
    return {
        "mnist_cnn.h": filled("mnist_cnn.h", values),
        "mnist_cnn.c": source(network),
        "main.c": filled("main.c", values),
        "Makefile": filled("Makefile", values),
        "README.md": filled("README.md", values),
    }


def filled(template: str, values: dict[str, str]) -> str:
    """Read a template and put values in place of $name; in a Makefile, $ is make's."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return text if template == "Makefile" else Template(text).substitute(values)


def source(network: IntegerNetwork) -> str:
    """Write mnist_cnn.c."""
    residual = any(layer.depthwise is not None for layer in network.layers)
    even, odd = map_sizes(network)
    last = network.layers[-1]
    step = math.gcd(4, *(layer.inputs for layer in network.layers if layer.depthwise is None), last.outputs)
    unrolled = [
        f"        first += (uint32_t)input[{i}] * weights[{2 * i}];\n"
        f"        second += (uint32_t)input[{i}] * weights[{2 * i + 1}];\n"
        for i in range(step)
    ]
    run = "convolve(&layers[i], from, to);"
    if residual:
        run = "(layers[i].depthwise ? residual_block : convolve)(&layers[i], from, to);"
    values = {
        "tables": tables(network),
        "fields": BLOCK_FIELDS if residual else "",
        "layers": "".join(layer_row(number, layer, residual) for number, layer in enumerate(network.layers)),
        "even_bytes": str(even),
        "odd_bytes": str(odd),
        "widest": str(widest(network)),
        "unrolled": "".join(unrolled),
        "step": str(step),
        "run": run,
        "before": str(network.rescaling.before),
        "after": str(network.rescaling.after),
        "positions": positions(network.average),
    }
    parts = ["head.c", "nibbles.c" if network.bits == 4 else "bytes.c", "convolution.c"]
    return "".join(filled(part, values) for part in [*parts, *(["block.c"] if residual else []), "predict.c"])


def positions(average: bool) -> str:
    """Write how the last layer reads its inputs: positions share weights if they are averaged."""
    if not average:
        return (
            "        add_products(features, weights, POSITIONS * CHANNELS, totals);\n"
            "        weights += 2 * POSITIONS * CHANNELS;"
        )
    return (
        "        for (unsigned i = 0; i < POSITIONS; ++i)\n"
        "            add_products(features + i * CHANNELS, weights, CHANNELS, totals);\n"
        "        weights += 2 * CHANNELS;"
    )


def tables(network: IntegerNetwork) -> str:
    """Write constants, weights, multipliers and offsets."""
    last, nibbles = network.layers[-1], network.bits == 4
    place = "(((y / 2 + 1) * 16 + x / 2 + 1) * 4 + y % 2 * 2 + x % 2)"
    written = [
        f"#define BACKGROUND {network.background} /* grey level around the image, the mean of the training pixels */",
        f"#define PLACE(y, x) {place if network.space_to_depth else '((y + 1) * 30 + x + 1)'}",
        f"#define CHANNELS {last.outputs} /* of the last layer's input */",
        f"#define POSITIONS {(last.side // last.pool) ** 2}",
        f"#define WEIGHTS(inputs) ((inputs) {'/ 4' if nibbles else '* 2'}) /* elements for two outputs */",
        "",
        f"typedef {'uint32_t' if nibbles else 'uint8_t'} weight_t;",
        "",
    ]
    for layer in {layer.group: layer for layer in network.layers}.values():
        if layer.depthwise is not None:
            by_position = layer.depthwise.transpose(1, 2, 0).ravel()
            written.append(array("int8_t", f"depthwise_{layer.group}", by_position))
            written.append(array("int8_t", f"pointwise_{layer.group}", layer.weights.ravel()))
        else:
            pack = packed_nibbles if nibbles else packed_bytes
            written.append(array("weight_t", f"weights_{layer.group}", pack(rows_of(layer))))
    for number, rescaling in [*enumerate(layer.rescaling for layer in network.layers), ("", network.rescaling)]:
        prefix, suffix = ("classifier_", "") if number == "" else ("", f"_{number}")
        written.append(array("int16_t", f"{prefix}multipliers{suffix}", rescaling.multipliers))
        written.append(array("int32_t", f"{prefix}offsets{suffix}", rescaling.offsets))
    written.append(array("uint8_t", "classifier_weights", packed_bytes(network.classifier)))
    return "\n".join(written)


def array(kind: str, name: str, values: Iterable[int]) -> str:
    """Write an array of constants."""
    lines = [""]
    for value in values:
        word = f"{value}," if kind != "weight_t" or value < 256 else f"0x{value:08X},"
        if len(lines[-1]) + len(word) > LINE:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    body = "\n".join(f"    {line}" for line in lines)
    return f"static const {kind} {name}[] = {{\n{body}\n}};\n"


def layer_row(number: int, layer: IntegerLayer, blocks: bool) -> str:
    """Write a layer's entry in the table of layers, with the fields of blocks if the network has `blocks`."""
    residual, padding = layer.depthwise is not None, int(number > 0)
    rescaling = layer.rescaling
    values = [
        "0" if residual else f"weights_{layer.group}",
        f"multipliers_{number}",
        f"offsets_{number}",
        f"{layer.inputs}, {layer.outputs}, {layer.side + 2 * (1 - padding)}, {padding}, {layer.pool}",
        f"{rescaling.before}, {rescaling.after}, {layer.limit}",
    ]
    if blocks:
        values.append(f"depthwise_{layer.group}, pointwise_{layer.group}" if residual else "0, 0")
        values.append(f"{rescaling.skip_multiplier}, {layer.depthwise_shift}")
    return f"    {{{', '.join(values)}}},\n"
