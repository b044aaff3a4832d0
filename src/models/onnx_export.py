"""PyTorch's exporter, without its warnings and the source paths that it leaves in a file."""

import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from mnist_cnn.models.onnx_graph import OPSET


def export_graph(module: nn.Module, example: Tensor, inputs: str, outputs: list[str], shapes: Any) -> onnx.ModelProto:
    """Export a module in eval mode.

    Args:
        module: takes one tensor.
        example: such a tensor.
        inputs: its name in the file.
        outputs: names of the tensors that the module returns.
        shapes: which sides may vary, as `dynamic_shapes` of torch.onnx.export.
    """
    for name in ("torch.onnx", "torch._dynamo"):  # warnings about missing torchvision, and after an interruption
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[inputs],
            output_names=outputs,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for part in (*proto.graph.node, *proto.graph.value_info, proto.graph):
        part.ClearField("metadata_props")  # file paths and line numbers of the source
        part.ClearField("doc_string")
    return proto
