"""LAMB optimizer in multi-tensor steps, numerically equal to that of torch-optimizer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch_optimizer import Lamb as ReferenceLamb

__all__ = ["Lamb"]

_OPTIONS = ("clamp_value", "adam", "debias")


class Lamb(ReferenceLamb):
    r"""Layer-wise adaptive moments optimizer for batch training (You et al., 2020).

    Parameters
    ----------
    params : iterable of torch.nn.Parameter or of dict
        Tensors to optimize, or parameter groups.
    lr : float, default=1e-3
        Learning rate :math:`\eta`: the share of its norm by which a tensor moves in a step.
    betas : tuple of (float, float), default=(0.9, 0.999)
        Decay rates of the moving averages of the gradient and of its square, in [0, 1).
    eps : float, default=1e-6
        Term added to the denominator for numerical stability.
    weight_decay : float, default=0
        Decoupled weight decay :math:`\lambda`, applied to all tensors of the group.
    clamp_value : float, default=10
        Upper bound :math:`c` on the norm of the weights in the trust ratio: a tensor with a norm
        above it moves by less than ``lr`` times its norm. A large value removes the bound.
    adam : bool, default=False
        Use a trust ratio of 1, which gives Adam with decoupled weight decay.
    debias : bool, default=False
        Multiply the step by the bias correction of Adam. As in torch-optimizer, the correction is
        applied after the trust ratio, where it shortens the first steps: with the default `betas`,
        to 0.32 of their length in the first step and to 0.15 in the tenth.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Notes
    -----
    For each tensor :math:`w` with gradient :math:`g`, a step computes moving averages as Adam does
    and a direction that includes the weight decay,

    .. math::

        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        u = m / (\sqrt{v} + \epsilon) + \lambda w,

    and moves the tensor along it by a length that depends on its own norm only, not on the size of
    the gradient:

    .. math::

        w \leftarrow w - \eta \, \frac{\min(\lVert w \rVert, c)}{\lVert u \rVert} \, u .

    The factor of :math:`u` is the trust ratio; it is 1 if one of the norms is 0.

    Numbers, constructor and state are those of ``torch_optimizer.Lamb`` 0.3, with two differences.
    A step runs over all tensors of a group at once (``torch._foreach_*``) and never waits for the
    device, since norms and ratios stay there. And the options `clamp_value`, `adam` and `debias`
    are kept in the parameter groups, so that state dicts, copies and pickles contain them.

    References
    ----------
    You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR
    2020. https://arxiv.org/abs/1904.00962

    Examples
    --------
    >>> import torch
    >>> from covidct import Lamb
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = Lamb([weight], lr=0.1)
    >>> weight.sum().backward()
    >>> optimizer.step()
    >>> weight.detach()  # moved by 0.1 of its norm, 5, along (1, 1)
    tensor([2.6464, 3.6464])
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0,
        clamp_value: float = 10,
        adam: bool = False,
        debias: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, clamp_value, adam, debias)
        for option in _OPTIONS:
            self.defaults[option] = self.__dict__.pop(option)
        self._complete_groups()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._complete_groups()

    def _complete_groups(self) -> None:
        # A state dict written by torch-optimizer does not have these options in its groups.
        for group in self.param_groups:
            for option in _OPTIONS:
                group.setdefault(option, self.defaults[option])

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch-optimizer's signature, unlike torch's overloads
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update all tensors that have a gradient.

        Parameters
        ----------
        closure : callable or None, default=None
            Function that reevaluates the model and returns the loss.

        Returns
        -------
        float or None
            Return value of the closure.

        Raises
        ------
        RuntimeError
            If a gradient is sparse.

        Examples
        --------
        >>> import torch
        >>> from covidct import Lamb
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> Lamb([weight]).step(lambda: 0.5)  # no gradient, no update
        0.5
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.device, parameter.dtype].append(parameter)
            for parameters in alike.values():
                self._step_together(group, parameters)
        return loss

    def _step_together(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        """Update tensors of one device and data type by multi-tensor operations."""
        gradients = [_dense(p.grad) for p in parameters]
        states = [self._state_of(p) for p in parameters]
        means = [s["exp_avg"] for s in states]
        squares = [s["exp_avg_sq"] for s in states]
        beta1, beta2 = group["betas"]

        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, gradients, alpha=1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)

        updates = torch._foreach_sqrt(squares)
        torch._foreach_add_(updates, group["eps"])
        torch._foreach_reciprocal_(updates)
        torch._foreach_mul_(updates, means)
        if group["weight_decay"] != 0:
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])

        weight_norms = torch.stack(torch._foreach_norm(parameters)).clamp(max=group["clamp_value"])
        update_norms = torch.stack(torch._foreach_norm(updates))
        defined = (weight_norms != 0) & (update_norms != 0)
        ratios = torch.where(defined, weight_norms / update_norms, 1.0)
        rows = zip(weight_norms.unbind(), update_norms.unbind(), ratios.unbind(), strict=True)
        for state, (weight_norm, update_norm, ratio) in zip(states, rows, strict=True):
            state.update(weight_norm=weight_norm, adam_norm=update_norm, trust_ratio=ratio)

        if not group["adam"]:
            torch._foreach_mul_(updates, list(ratios.unbind()))
        if group["debias"]:
            torch._foreach_mul_(
                updates, [_bias_correction(s["step"], beta1, beta2) for s in states]
            )
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _state_of(self, parameter: torch.Tensor) -> dict[str, Any]:
        """Return the state of a tensor, created on its first step, with the step counted."""
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = 0
            for average in ("exp_avg", "exp_avg_sq"):
                state[average] = torch.zeros_like(parameter)
        state["step"] += 1
        return state


def _dense(gradient: torch.Tensor | None) -> torch.Tensor:
    if gradient is None or gradient.is_sparse:
        raise RuntimeError(
            "Lamb accepts dense gradients only; use torch.optim.SparseAdam for sparse gradients"
        )
    return gradient


def _bias_correction(step: int, beta1: float, beta2: float) -> float:
    return math.sqrt(1 - beta2**step) / (1 - beta1**step)
