"""The backend that chooses: results and errors do not depend on its choice."""

import itertools
import math

import pytest
import torch
from auto_tables import EVERY_NORM, LEAST, call, channels_last, drawn, forget, from_on, of_layouts
from strategies import ON_CPU, num_groups
from torch.testing import assert_close

from normsuite import functional, modules, validation
from normsuite.backends import auto
from normsuite.errors import ArgumentError, NormsuiteError, ShapeError, UnknownNameError, UnsupportedError
from normsuite.spec import NORMS

# ---- the result ----


@pytest.mark.parametrize("activation", [None, "silu"], ids=str)
@EVERY_NORM
def test_results_are_those_of_the_chosen_backend(spec, activation, measured):
    """Bit for bit, on either side of every number of the table, with the gradients and the running statistics."""
    chosen = set()
    for shape, layout, wants in itertools.product(
        [(2, 4, 5, 6), (2, 4, 16, 17), (4, 8, 16, 17)], [lambda x: x, channels_last], [False, True]
    ):
        x = layout(drawn(*shape)).requires_grad_(wants)
        affine = shape[1:] if spec.affine == "element" else shape[1:2]
        weight, bias = drawn(*affine, seed=1), drawn(*affine, seed=2) if spec.centred else None
        best = auto.choose(call(spec, x, weight=weight, bias=bias, activation=activation)).backend
        chosen.add(best)
        found = []
        for backend in ("auto", best):
            running = [torch.zeros(shape[1]), torch.ones(shape[1])] if spec.running != "never" else [None, None]
            y = functional.normalize(
                spec,
                x,
                weight,
                bias,
                running_mean=running[0],
                running_var=running[1],
                num_groups=num_groups(spec),
                activation=activation,
                backend=backend,
            )
            more = torch.autograd.grad(y, x, drawn(*shape, seed=5)) if wants else ()
            found.append([y, *more, *(t for t in running if t is not None)])
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(*found, strict=True))
    assert chosen == ({"torch", "numba"} if spec.name in measured else {"numba"})


def test_out_is_filled_whatever_is_chosen(measured):
    for shape in ((2, 4, 5, 6), (4, 8, 16, 17)):
        x = drawn(*shape)
        out = torch.empty_like(x)
        best = auto.choose(call(NORMS["BatchNorm"], x)).backend
        y = functional.batch_norm(x, None, None, training=True, out=out, backend="auto")
        assert y is out
        assert torch.equal(out, functional.batch_norm(x, None, None, training=True, backend=best))


@EVERY_NORM
def test_channels_last_stays_so(spec):
    """Sizes are those of the real table, from tiny to large."""
    for shape in ((2, 4, 3, 3), (2, 8, 16, 17), (8, 16, 65, 33)):
        x = channels_last(drawn(*shape)).requires_grad_()
        y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto")
        assert y.is_contiguous(memory_format=torch.channels_last)
        x = drawn(*shape)
        assert functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto").is_contiguous()


def test_modules_take_it():
    for x in (drawn(2, 4, 3, 3), drawn(8, 4, 65, 33)):
        mine, theirs = modules.BatchNorm2d(4, momentum=None, backend="auto"), torch.nn.BatchNorm2d(4, momentum=None)
        for _ in range(2):
            assert_close(mine(x), theirs(x), rtol=1e-5, atol=1e-5)
        assert_close(mine.running_mean, theirs.running_mean)
        assert_close(mine.running_var, theirs.running_var)
        assert_close(mine.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


# ---- errors, whoever computes ----

X = torch.ones(2, 8, 3)
ONE, EIGHT = torch.ones(1), torch.ones(8)


@pytest.fixture(params=[1, 2**40], ids=["kernels", "torch"])
def either_way(request, monkeypatch):
    """Once with all tensors large enough for the kernels, once with all small enough for torch's call."""
    entry = from_on(**{mode: request.param for mode in LEAST if mode != "lengths"})
    monkeypatch.setattr(auto, "table", lambda: {name: of_layouts(spec, entry, entry) for name, spec in NORMS.items()})
    forget(monkeypatch)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("compute", "error", "says"),
    [
        (lambda f: f.group_norm(X, 3, backend="auto"), ShapeError, "num_groups = 3: must divide"),
        (lambda f: f.group_norm(X, 0, backend="auto"), ArgumentError, "num_groups = 0"),
        (lambda f: f.group_norm(X, 2.5, backend="auto"), ArgumentError, "num_groups = 2.5"),
        (lambda f: f.group_norm(X, None, backend="auto"), ArgumentError, "num_groups = None"),
        (lambda f: f.group_norm(X, 2, torch.ones(7), backend="auto"), ShapeError, "weight.shape = (7,): must be (8,)"),
        (lambda f: f.group_norm(X, 2, None, torch.ones(8, 3), backend="auto"), ShapeError, "bias.shape = (8, 3)"),
        (lambda f: f.group_norm(X, 2, torch.ones(8, 1), backend="auto"), ShapeError, "weight.shape = (8, 1)"),
        (lambda f: f.layer_norm(X, (4,), backend="auto"), ShapeError, "input.shape = (2, 8, 3): must end in"),
        (lambda f: f.layer_norm(X, (), backend="auto"), ShapeError, "must end in normalized_shape = ()"),
        (lambda f: f.rms_norm(X, (), backend="auto"), ShapeError, "must end in normalized_shape = ()"),
        (lambda f: f.layer_norm(X, 3, backend="auto"), ArgumentError, "normalized_shape = 3"),
        (lambda f: f.layer_norm(X, (3,), EIGHT, backend="auto"), ShapeError, "weight.shape = (8,): must be (3,)"),
        (lambda f: f.layer_norm(X, (3,), torch.ones(1, 3), backend="auto"), ShapeError, "weight.shape = (1, 3)"),
        (lambda f: f.batch_norm(torch.ones(3), None, None, backend="auto"), ShapeError, "input.shape = (3,)"),
        (lambda f: f.batch_norm(torch.ones(3), None, None, training=True, backend="auto"), ShapeError, "input.shape"),
        (lambda f: f.batch_norm(torch.ones(3), ONE, ONE, backend="auto"), ShapeError, "input.shape = (3,)"),
        (lambda f: f.batch_norm(torch.ones(0), None, None, training=True, backend="auto"), ShapeError, "(0,)"),
        (lambda f: f.batch_norm(torch.ones(()), None, None, training=True, backend="auto"), ShapeError, "()"),
        (lambda f: f.group_norm(torch.ones(4), 2, backend="auto"), ShapeError, "input.shape = (4,)"),
        (lambda f: f.batch_norm(X, None, None, backend="auto"), ArgumentError, "running_mean = None: is needed"),
        (lambda f: f.batch_norm(X, EIGHT, None, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.batch_norm(X, EIGHT, None, training=True, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.batch_norm(X, ONE, EIGHT, backend="auto"), ShapeError, "running_mean.shape = (1,)"),
        (lambda f: f.batch_norm(X, EIGHT, EIGHT[:, None], backend="auto"), ShapeError, "running_var.shape = (8, 1)"),
        (
            lambda f: f.batch_norm(X, None, None, EIGHT.reshape(2, 4), training=True, backend="auto"),
            ShapeError,
            "weight.shape = (2, 4): must be (8,)",
        ),
        (
            lambda f: f.batch_norm(X, None, None, None, EIGHT[:, None], training=True, backend="auto"),
            ShapeError,
            "bias.shape = (8, 1): must be (8,)",
        ),
        (lambda f: f.batch_norm(X[:1, :, :1], None, None, training=True, backend="auto"), ShapeError, "more than 1"),
        (lambda f: f.instance_norm(X[:, :, :1].contiguous(), backend="auto"), ShapeError, "input.shape = (2, 8, 1)"),
        (lambda f: f.instance_norm(X[:, :, 0].contiguous(), backend="auto"), ShapeError, "input.shape = (2, 8)"),
        (lambda f: f.instance_norm(X, EIGHT, None, backend="auto"), ArgumentError, "running_var = None"),
        (lambda f: f.instance_norm(X, None, None, EIGHT[:, None], backend="auto"), ShapeError, "weight.shape = (8, 1)"),
        (lambda f: f.batch_norm(X, None, None, training=True, eps=-1.0, backend="auto"), ArgumentError, "eps = -1.0"),
        (lambda f: f.batch_norm(X, None, None, training=True, eps=0.0, backend="auto"), ArgumentError, "eps = 0.0"),
        (lambda f: f.instance_norm(X, eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.group_norm(X, 2, eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.layer_norm(X, (3,), eps=float("nan"), backend="auto"), ArgumentError, "eps = nan"),
        (lambda f: f.instance_norm([[1.0]], backend="auto"), ArgumentError, "input = 'list'"),
        (lambda f: f.instance_norm(X, activation="tanh", backend="auto"), UnknownNameError, "activation = 'tanh'"),
        (lambda f: f.instance_norm(X, activation="nothing", backend="auto"), UnknownNameError, "activation = 'noth"),
        (lambda f: f.instance_norm(X, activation=3, backend="auto"), UnknownNameError, "activation = 3"),
    ],
)
def test_bad_input_is_named_whatever_its_size(compute, error, says):
    with pytest.raises(error) as caught:
        compute(functional)
    assert isinstance(caught.value, NormsuiteError) and says in str(caught.value)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("RMSNorm", {"bias": drawn(8, 3, seed=1)}),
        ("GroupNorm", {"running_mean": drawn(8, seed=1), "running_var": torch.ones(8), "use_input_stats": False}),
    ],
)
def test_nothing_is_dropped_that_torch_does_not_take(name, given):
    """What torch's function has no argument for is computed by a backend that has, for a small tensor too."""
    x = drawn(2, 8, 3)
    spec = NORMS[name]
    with pytest.raises(UnsupportedError, match="takes no"):
        functional.normalize(spec, x, num_groups=num_groups(spec), backend="torch", **given)

    def outcome(backend):
        own = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in given.items()}
        try:
            y = functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend, **own)
        except NormsuiteError as error:
            return type(error).__name__
        return [y, *(value for value in own.values() if isinstance(value, torch.Tensor))]

    best = outcome("numba")
    found = outcome("auto")
    if isinstance(best, str):
        assert found == best
    else:
        assert_close(found, best)


@pytest.mark.usefixtures("either_way")
def test_a_refused_call_moves_nothing():
    running = torch.zeros(8), torch.ones(8)
    with pytest.raises(ShapeError):
        functional.batch_norm(X, *running, torch.ones(7), training=True, backend="auto")
    with pytest.raises(UnknownNameError):
        functional.batch_norm(X, *running, training=True, activation="tanh", backend="auto")
    assert torch.equal(running[0], torch.zeros(8)) and torch.equal(running[1], torch.ones(8))


def call_of(spec, x, **changed):
    """A training call with everything that the norm takes, some of it changed."""
    affine = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    given = {"weight": torch.ones(affine), "bias": torch.ones(affine) if spec.centred else None}
    if spec.running != "never":
        given.update(running_mean=torch.zeros(x.shape[1]), running_var=torch.ones(x.shape[1]))
    given.update(changed)
    return given, lambda backend: functional.normalize(spec, x, num_groups=num_groups(spec), backend=backend, **given)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@EVERY_NORM
def test_a_call_like_one_before_is_refused_for_a_parameter_of_another_shape(spec, name, backend):
    """Inputs have as many numbers, or others; nothing is moved."""
    given, right = call_of(spec, X)
    if given.get(name) is None:
        pytest.skip(f"{spec.name} has no {name}")
    for shape in [(*given[name].shape, 1), given[name].shape[:0], (4, -1), (given[name].numel() - 1,)]:
        right(backend)
        some = torch.full_like(given[name], float(name != "running_mean")).flatten()
        changed, call = call_of(spec, X, **{name: (some if -1 in shape else some[: math.prod(shape)]).reshape(shape)})
        with pytest.raises(ShapeError, match=rf"{name}\.shape = "):
            call(backend)
        if "running_var" in changed:
            assert (changed["running_mean"] == 0).all() and (changed["running_var"] == 1).all()


@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@EVERY_NORM
def test_a_call_like_one_before_is_not_checked_in_full_and_another_is(spec, backend, monkeypatch):
    """Whatever the answer depends on makes another kind of call."""
    asked, in_full = [], validation.call
    monkeypatch.setattr(validation, "call", lambda *given: asked.append(1) or in_full(*given))
    forget(monkeypatch)
    x = drawn(4, 8, 6, 5)
    shape = x.shape[1:] if spec.affine == "element" else x.shape[1:2]
    given = {"weight": torch.ones(shape), "eps": 1e-5, "num_groups": num_groups(spec)}
    if spec.affine == "element":
        given["normalized_shape"] = tuple(shape)
    others = [
        {"input": x[:2]},
        {"input": x.double(), "weight": torch.ones(shape, dtype=torch.float64)},
        {"input": channels_last(x)},
        {"input": x.clone().requires_grad_()},
        {"weight": None},
        {"eps": 1e-3},
        {"eps": 1},
        {"activation": "relu"},
        {"activation": "silu"},
        {"out": torch.empty_like(x)},
        {"backend": "reference"},
    ]
    if spec.centred:
        others.append({"bias": torch.ones(shape)})
    if spec.running != "never":
        running = {"running_mean": torch.zeros(8), "running_var": torch.ones(8)}
        others += [running, {**running, "use_input_stats": False}]

    def call(changed=None):
        before = len(asked)
        arguments = {"input": x, "backend": backend, **given, **(changed or {})}
        functional.normalize(spec, arguments.pop("input"), **arguments)
        return len(asked) > before

    assert call()
    for changed in others:
        assert not call(), "the same call again is looked up"
        assert call(changed), f"a call with another {', '.join(changed)} is checked"
    assert not call({"input": x.clone()})
    parameter = {"weight": torch.nn.Parameter(torch.ones(shape), requires_grad=False)}
    assert call(parameter), "of another class"
    assert not call(parameter)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm"])
def test_as_many_numbers_in_another_shape_are_another_call(name, backend):
    """What is known of (4, 6, 3) holds for other inputs of 72 numbers that end alike, and not for those that do not."""
    compute = {"LayerNorm": functional.layer_norm, "RMSNorm": functional.rms_norm}[name]
    compute(drawn(4, 6, 3), (6, 3), eps=1e-5, backend=backend)
    for shape in [(2, 2, 6, 3), (4, 6, 3), (1, 4, 6, 3)]:
        x = drawn(*shape, seed=1).requires_grad_()
        y = compute(x, (6, 3), eps=1e-5, backend=backend)
        wanted = compute(x, (6, 3), eps=1e-5, backend="reference")
        assert_close(y, wanted)
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(wanted.square().sum(), x, create_graph=True)
        assert_close(*(torch.autograd.grad(g.square().sum(), x)[0] for g in (first, second)), rtol=1e-4, atol=1e-4)
    for shape in [(4, 3, 6), (72,), (12, 6), (6, 4, 3)]:
        with pytest.raises(ShapeError, match=r"must end in normalized_shape = \(6, 3\)"):
            compute(drawn(*shape), (6, 3), eps=1e-5, backend=backend)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("backend", ["auto", "torch", "numba"])
@EVERY_NORM
def test_other_types_are_computed_or_refused_as_in_a_first_call(spec, backend, monkeypatch):
    def outcome(x, **changed):
        try:
            return call_of(spec, x, **changed)[1](backend)
        except RuntimeError as error:
            return str(error)

    for x, weight in [(X.double(), torch.float64), (X.bfloat16(), torch.float32), (X, torch.float64)]:
        shape = X.shape[1:] if spec.affine == "element" else X.shape[1:2]
        given = {"weight": torch.ones(shape, dtype=weight)}
        forget(monkeypatch)
        first = outcome(x, **given)
        forget(monkeypatch)
        call_of(spec, X)[1](backend)
        again = outcome(x, **given)
        assert first == again if isinstance(first, str) else torch.equal(first, again)


@pytest.mark.parametrize("backend", ON_CPU)
def test_what_was_checked_before_does_not_let_a_wrong_type_through(backend):
    """2.0 equals 2, and is no number of groups all the same."""
    functional.group_norm(X, 2, backend=backend)
    with pytest.raises(ArgumentError, match=r"num_groups = 2\.0"):
        functional.group_norm(X, 2.0, backend=backend)


@pytest.mark.usefixtures("either_way")
def test_an_empty_batch_is_an_empty_batch():
    x = torch.zeros(0, 8, 3)
    for spec in NORMS.values():
        running = {"running_mean": torch.zeros(8), "running_var": torch.ones(8)} if spec.running != "never" else {}
        y = functional.normalize(spec, x, num_groups=num_groups(spec), backend="auto", **running)
        assert y.shape == x.shape
        assert not running or (running["running_var"] == 1).all()
