"""Captured programs: torch.compile, torch.export, ONNX."""

from importlib.util import find_spec

import torch

from ..result import Finding
from ..subject import NotApplicable, Subject
from ..truth import array, outcome
from . import check


@check(optional=True)
def compiled(subject: Subject) -> Finding:
    """torch.compile with fullgraph gives the eager output and gradients."""
    eager, built, x = subject.built(), subject.built(), subject.input()
    dy = subject.gradient(x)
    torch.compiler.reset()
    program = torch.compile(built.module, fullgraph=True)
    found, true = outcome(program, built, x, dy), outcome(eager, eager, x, dy)
    return subject.judged(max(subject.ulps(values, true[name]) for name, values in found.items()), None)


@check(optional=True)
def exported(subject: Subject) -> Finding:
    """torch.export gives a program with the eager output."""
    built, x = subject.built(), subject.input()
    built.module.eval()
    with torch.no_grad():
        program = torch.export.export(built.module, (x,)).module()
        return subject.judged(subject.ulps(array(program(x)), array(built(x))), None)


@check(optional=True)
def onnx(subject: Subject) -> Finding:
    """The ONNX export runs in onnxruntime and gives the eager output."""
    for package in ("onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise NotApplicable(f"{package} is not installed")
    import onnxruntime

    built, x = subject.built(), subject.input()
    built.module.eval()
    with torch.no_grad():
        program = torch.onnx.export(built.module, (x,), dynamo=True, verbose=False)
        assert program is not None  # dynamo=True always returns one
        model = program.model_proto.SerializeToString()
        true = array(built(x))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = [given.name for given in session.get_inputs()]
    (found,) = session.run(None, {name: x.numpy()})
    return subject.judged(subject.ulps(found.astype("float64"), true), None)
