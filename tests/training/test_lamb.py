from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch_optimizer import Lamb as ReferenceLamb

from covidct import Lamb

OPTIONS = [
    {},
    {"weight_decay": 1.0},
    {"weight_decay": 0.1, "clamp_value": 0.5},
    {"adam": True, "weight_decay": 0.01},
    {"debias": True},
    {"debias": True, "adam": True, "betas": (0.8, 0.99), "eps": 1e-3},
]


def recorded_gradients(parameters: list[torch.Tensor], steps: int) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [[torch.randn(p.shape, generator=generator) for p in parameters] for _ in range(steps)]


@pytest.mark.parametrize("options", OPTIONS)
def test_equals_torch_optimizer_on_a_network(options):
    ours, theirs = (list(copy.deepcopy(network).parameters()) for network in [build()] * 2)
    optimizers = Lamb(ours, lr=1e-2, **options), ReferenceLamb(theirs, lr=1e-2, **options)
    for gradients in recorded_gradients(ours, 20):
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g.clone()
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        mine, reference = optimizers[0].state[a], optimizers[1].state[b]
        assert mine.keys() == reference.keys()
        assert mine["step"] == reference["step"]
        torch.testing.assert_close(mine["exp_avg_sq"], reference["exp_avg_sq"])
        torch.testing.assert_close(
            mine["trust_ratio"], torch.as_tensor(float(reference["trust_ratio"]))
        )


def build() -> torch.nn.Module:
    """A small network with tensors of one, two and four dimensions."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, bias=False),
            torch.nn.BatchNorm2d(8),
            torch.nn.Conv2d(8, 8, 3, groups=8),
            torch.nn.Flatten(),
            torch.nn.Linear(32, 16),
            torch.nn.Linear(16, 1),
        )


def numpy_step(w, g, m, v, *, lr, wd, clamp, b1=0.9, b2=0.999, eps=1e-6):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    u = m / (np.sqrt(v) + eps) + wd * w
    norm_w, norm_u = min(np.linalg.norm(w), clamp), np.linalg.norm(u)
    return w - lr * (norm_w / norm_u if norm_w and norm_u else 1) * u, m, v


@pytest.mark.parametrize(("start", "clamp"), [(1.0, 10), (100.0, 10), (0.0, 10)])
def test_equals_a_numpy_step(start, clamp):
    rng = np.random.default_rng(0)
    w = start * rng.standard_normal((3, 4))
    m = v = np.zeros_like(w)
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = Lamb([parameter], lr=0.1, weight_decay=0.5, clamp_value=clamp)
    for _ in range(3):
        g = rng.standard_normal(w.shape)
        parameter.grad = torch.tensor(g)
        optimizer.step()
        w, m, v = numpy_step(w, g, m, v, lr=0.1, wd=0.5, clamp=clamp)
    np.testing.assert_allclose(parameter.detach().numpy(), w, rtol=1e-10)


def trained(**options) -> tuple[torch.nn.Parameter, Lamb]:
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimizer = Lamb([parameter], lr=0.1, **options)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return parameter, optimizer


@pytest.mark.parametrize(
    "clone",
    [
        copy.deepcopy,
        lambda pair: pickle.loads(pickle.dumps(pair)),
        lambda pair: through_state_dict(*pair),
    ],
    ids=["deepcopy", "pickle", "state_dict"],
)
def test_copies_keep_every_option(clone):
    pair = trained(clamp_value=0.3, debias=True, weight_decay=0.2)
    twin = clone(pair)
    for parameter, optimizer in (pair, twin):
        parameter.grad = torch.full_like(parameter, 2.0)
        optimizer.step()
    assert torch.equal(pair[0], twin[0])


def through_state_dict(parameter, optimizer):
    fresh = torch.nn.Parameter(parameter.detach().clone())
    other = Lamb([fresh], lr=1.0)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return fresh, other


def test_reads_a_state_dict_of_torch_optimizer():
    parameter = torch.nn.Parameter(torch.ones(3))
    reference = ReferenceLamb([parameter], lr=0.1)
    ours = Lamb([parameter], clamp_value=3)
    ours.load_state_dict(reference.state_dict())
    assert ours.param_groups[0]["lr"] == 0.1
    assert ours.param_groups[0]["clamp_value"] == 3


def test_groups_keep_their_own_options():
    a, b = (torch.nn.Parameter(torch.full((2,), 3.0)) for _ in range(2))
    optimizer = Lamb([{"params": [a], "adam": True}, {"params": [b]}], lr=0.1)
    for p in (a, b):
        p.grad = torch.ones(2)
    optimizer.step()
    moved = [float((3 - p).norm()) for p in (a.detach(), b.detach())]
    assert moved[0] > moved[1] > 0


def test_without_a_closure_nothing_is_returned():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    assert Lamb([parameter]).step() is None


def test_defaults_are_those_of_torch_optimizer():
    parameter = torch.nn.Parameter(torch.ones(1))
    ours, theirs = Lamb([parameter]), ReferenceLamb([parameter])
    expected = theirs.defaults | {
        option: getattr(theirs, option) for option in ("clamp_value", "adam", "debias")
    }
    assert ours.defaults == expected
    assert {k: v for k, v in ours.param_groups[0].items() if k != "params"} == expected


def test_norms_in_the_state_are_those_of_torch_optimizer():
    weights = torch.linspace(-2, 3, 12).reshape(3, 4)
    pair = [torch.nn.Parameter(weights.clone()) for _ in range(2)]
    options = {"lr": 0.1, "weight_decay": 0.3, "clamp_value": 2.5}
    optimizers = Lamb(pair[:1], **options), ReferenceLamb(pair[1:], **options)
    for parameter, optimizer in zip(pair, optimizers, strict=True):
        parameter.grad = torch.cos(weights)
        optimizer.step()
    mine, reference = (o.state[p] for p, o in zip(pair, optimizers, strict=True))
    assert float(reference["weight_norm"]) == 2.5
    for norm in ("weight_norm", "adam_norm", "trust_ratio"):
        assert float(mine[norm]) == pytest.approx(float(reference[norm]), rel=1e-6)


def test_state_has_the_memory_format_of_its_tensor():
    parameter = torch.nn.Parameter(torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last))
    parameter.grad = torch.ones_like(parameter)
    optimizer = Lamb([parameter])
    optimizer.step()
    for average in ("exp_avg", "exp_avg_sq"):
        assert optimizer.state[parameter][average].stride() == parameter.stride()


def test_a_tensor_of_zeros_and_one_without_an_update_have_a_ratio_of_one():
    zeros, still = (torch.nn.Parameter(torch.full((2,), value)) for value in (0.0, 3.0))
    optimizer = Lamb([zeros, still], lr=0.1)
    zeros.grad, still.grad = torch.ones(2), torch.zeros(2)
    optimizer.step()
    assert [float(optimizer.state[p]["trust_ratio"]) for p in (zeros, still)] == [1, 1]
    assert still.tolist() == [3, 3]
    # Without the trust ratio, the step is lr * (1 - beta1) / sqrt(1 - beta2), as in Adam.
    torch.testing.assert_close(zeros.detach(), torch.full((2,), -0.1 * 0.1 / 0.001**0.5))


def test_tensors_without_gradient_stay():
    a, b = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Lamb([a, b])
    for _ in range(2):
        a.grad = torch.ones(2)
        optimizer.step()
    b.grad = torch.ones(2)
    optimizer.step()
    assert [optimizer.state[p]["step"] for p in (a, b)] == [3, 1]


def test_sparse_gradient_is_refused():
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2).to_sparse()
    with pytest.raises(RuntimeError, match="SparseAdam"):
        Lamb([parameter]).step()


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"eps": -1.0}, {"betas": (1.0, 0.9)}, {"clamp_value": -1.0}]
)
def test_bad_options_are_refused(wrong):
    with pytest.raises(ValueError, match="Invalid"):
        Lamb([torch.nn.Parameter(torch.ones(1))], **wrong)


def test_closure_sees_gradients():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = Lamb([parameter])

    def closure():
        optimizer.zero_grad()
        loss = (parameter**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0


@pytest.mark.cuda
def test_step_never_waits_for_the_device():
    parameters = [torch.nn.Parameter(p.cuda()) for p in itertools.islice(build().parameters(), 9)]
    optimizer = Lamb(parameters, lr=1e-2, weight_decay=1)
    for p in parameters:
        p.grad = torch.ones_like(p)
    optimizer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
