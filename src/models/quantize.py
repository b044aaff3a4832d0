"""Makes the graph of an exported network smaller: 8-bit integer arithmetic, or weights stored in half precision."""

import copy
import logging
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mnist_cnn.pictures.image_io import Pixels

LARGE = 256  # values of a constant that is worth converting


def to_int8(proto: onnx.ModelProto, calibration: Pixels) -> onnx.ModelProto:
    """Quantize convolutions and the last layer to int8, calibrated on training images, uint8 [N, 28, 28]."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Returns the images in batches, then None."""

        def __init__(self) -> None:
            self.batches = iter([{"pixels": batch} for batch in np.split(calibration, 10)])

        def get_next(self) -> dict[str, Pixels] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        logging.disable(logging.WARNING)  # its advice to fold batch norms first, which is done
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


def to_float16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Store large float32 constants within float16's range as float16; the runtime converts them back, once."""
    small = copy.deepcopy(proto)
    casts = []
    for tensor in small.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) < LARGE:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        stored = f"{tensor.name}_float16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    nodes = list(small.graph.node)
    del small.graph.node[:]
    small.graph.node.extend([*casts, *nodes])
    return small
