"""A trained spotter becomes an .onnx file, which is kept only if it computes what PyTorch computes."""

import numpy as np
import onnx
import onnxruntime
import torch

from mnist_cnn.common.errors import InputError
from mnist_cnn.models.onnx_export import export_graph
from mnist_cnn.models.quantize import to_float16
from mnist_cnn.training.spotter_net import SpotterNet

MAX_DIFFERENCE = 0.02  # between logits of the file, whose weights are rounded to float16, and the network
MAX_CELLS = 4096  # of 8 x 8 pixels, in height and in width
SHAPES = ((64, 208), (8, 8), (40, 312), (264, 96))  # on which they are compared


def to_onnx(net: SpotterNet, metadata: dict[str, str]) -> bytes:
    """Export a network in eval mode: float32 [1, 1, H, W] `contrast` to `output`, H and W any multiples of 8.

    Its weights are stored as float16.

    Raises:
        InputError: ONNX Runtime computes something else than PyTorch.
    """
    rows, columns = (torch.export.Dim(name, min=1, max=MAX_CELLS) for name in ("rows", "columns"))
    shapes = {"contrast": {2: 8 * rows, 3: 8 * columns}}
    proto = export_graph(net, torch.zeros(1, 1, *SHAPES[0]), "contrast", ["output"], shapes)
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = to_float16(proto).SerializeToString()
    check_equal(content, net)
    return content


@torch.no_grad()
def check_equal(content: bytes, net: SpotterNet) -> None:
    """Compare the outputs of a serialized model and the network for noise of several shapes.

    Raises:
        InputError: they differ.
    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for shape in SHAPES:
        contrast = torch.randn(1, 1, *shape, generator=generator)
        (output,) = session.run(None, {"contrast": contrast.numpy()})
        difference = float(np.abs(output - net(contrast).numpy()).max())
        if not difference <= MAX_DIFFERENCE:
            raise InputError(
                f"the exported spotter differs from PyTorch's by {difference:.1e} for a picture of {shape[1]} x "
                f"{shape[0]} pixels; no file was written: report this with the checkpoint"
            )
