"""onnxruntime on the norm's own operator: forward and evaluation, float32, in its layout (channels second).

Inputs are bound to torch's memory, the output is onnxruntime's own. It has as many threads as torch, which wait for the
next call in a loop first, as they do by default.
"""

import torch

from ..task import EPS
from . import Implementation, not_installed

# Operator and attributes by the norm's name.
_OPERATORS = {
    "BatchNorm": ("BatchNormalization", lambda task: {"training_mode": int(task.training)}),
    "LayerNorm": ("LayerNormalization", lambda task: {"axis": -len(task.normalized_shape)}),
    "GroupNorm": ("GroupNormalization", lambda task: {"num_groups": task.num_groups}),
    "InstanceNorm": ("InstanceNormalization", lambda task: {}),
    "RMSNorm": ("RMSNormalization", lambda task: {"axis": -len(task.normalized_shape)}),
}
_OPSET = 23  # the first that has RMSNormalization


class OnnxRuntime(Implementation):
    """A model of one norm in an onnxruntime session on the CPU."""

    packages = ("onnxruntime",)
    pool = "onnxruntime"
    torch_memory = False

    def why_not(self, task):
        """Return the reason why onnxruntime cannot do a task, or None."""
        if task.device != "cpu":
            return "measured on the CPU only"
        if task.gradients:
            return "computes no gradients"
        if task.dtype != "float32":
            return f"measured in float32, not {task.dtype}"
        if task.case.channels_last:
            return "knows no channels_last"
        if task.spec.name not in _OPERATORS:
            return f"onnx has no {task.spec.name}"
        if task.activation not in (None, "relu", "silu"):
            return f"{task.activation} is not compared"
        return not_installed("onnx", "onnxruntime")

    def prepare(self, task, given):
        """Make a session for the norm with the operands bound to it, and return a call that runs it."""
        import numpy as np
        import onnxruntime

        operands = {"x": given.input, "weight": given.weight, "bias": given.bias}
        operands |= dict(zip(("running_mean", "running_var"), task.running(), strict=True))
        operands = {name: t.detach() for name, t in operands.items() if t is not None}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            _model(task, {name: t.shape for name, t in operands.items()}), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        for name, t in operands.items():
            binding.bind_input(name, "cpu", 0, np.float32, tuple(t.shape), t.data_ptr())
        for output in session.get_outputs():
            binding.bind_output(output.name, "cpu")

        def call():
            session.run_with_iobinding(binding)
            return binding, operands  # the operands too: the binding has only their addresses

        return call

    def tensors(self, value):
        """Return y as a torch tensor."""
        return (torch.from_numpy(value[0].get_outputs()[0].numpy()),)


def _model(task, shapes) -> bytes:
    """Return the norm, then the activation, as an ONNX model."""
    from onnx import TensorProto, helper

    operator, attributes = _OPERATORS[task.spec.name]
    outputs = ["normed"]
    if task.spec.running == "always" and task.training:
        outputs += ["new_mean", "new_var"]
    nodes = [helper.make_node(operator, list(shapes), outputs, epsilon=EPS, **attributes(task))]
    if task.activation == "relu":
        nodes.append(helper.make_node("Relu", ["normed"], ["y"]))
    elif task.activation == "silu":
        nodes.append(helper.make_node("Sigmoid", ["normed"], ["gate"]))
        nodes.append(helper.make_node("Mul", ["normed", "gate"], ["y"]))
    else:
        nodes[0].output[0] = "y"

    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, tuple(shape))

    graph = helper.make_graph(
        nodes,
        "norm",
        [value(name, shape) for name, shape in shapes.items()],
        [value("y", task.case.shape), *(value(name, (task.case.shape[1],)) for name in outputs[1:])],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


IMPLEMENTATIONS = (OnnxRuntime("onnxruntime"),)
