"""LAMB as torch-optimizer computes it, in multi-tensor steps."""

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
    r"""Layer-wise adaptive moments for batch training (You et al., 2020).

    Each tensor of weights :math:`w` moves along the Adam direction with decoupled weight decay,
    :math:`u = m / (\sqrt{v} + \epsilon) + \lambda w`, by a length that its own norm sets:
    :math:`w \leftarrow w - \eta\, \min(\lVert w \rVert, c) / \lVert u \rVert \cdot u`.

    The numbers, the constructor and the state are those of ``torch_optimizer.Lamb`` 0.3, with two
    differences: a step runs over all tensors at once (``torch._foreach_*``) and never waits for
    the device, and the options below live in the parameter groups, so that state dicts, copies
    and pickles keep them.

    Parameters
    ----------
    params
        Tensors to optimize, or dicts that define parameter groups.
    lr
        Learning rate :math:`\eta`: the share of its norm by which a tensor moves in a step.
    betas
        Decay rates of the running averages of the gradient and of its square.
    eps
        Added to the denominator.
    weight_decay
        Decoupled weight decay :math:`\lambda`, of every tensor, biases included.
    clamp_value
        Upper bound :math:`c` on the norm of the weights. A quirk that matters: a tensor with a
        norm above 10 moves by less than ``lr`` times its norm. Set it high to be rid of it.
    adam
        Use a trust ratio of 1 throughout, which makes this Adam.
    debias
        Correct the averages for their start at zero. A second quirk: the correction scales the
        learning rate after the trust ratio, where it cancels nothing.

    Raises
    ------
    ValueError
        If a number is out of its range.

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
        # A state dict that torch-optimizer wrote has no such options in its groups.
        for group in self.param_groups:
            for option in _OPTIONS:
                group.setdefault(option, self.defaults[option])

    @torch.no_grad()
    def step(  # type: ignore[override]  # as torch-optimizer has it, unlike torch's overloads
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every tensor that has a gradient.

        Parameters
        ----------
        closure
            Reevaluates the model and returns the loss.

        Returns
        -------
        float or None
            What the closure returned.

        Raises
        ------
        RuntimeError
            If a gradient is sparse.

        Examples
        --------
        >>> import torch
        >>> from covidct import Lamb
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> Lamb([weight]).step(lambda: 0.5)  # no gradient: nothing moves
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

        weight_norms = torch.stack(torch._foreach_norm(parameters)).clamp(0, group["clamp_value"])
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
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = 0
            for average in ("exp_avg", "exp_avg_sq"):
                state[average] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["step"] += 1
        return state


def _dense(gradient: torch.Tensor | None) -> torch.Tensor:
    if gradient is None or gradient.is_sparse:
        raise RuntimeError(
            "Lamb takes dense gradients only; use torch.optim.SparseAdam for sparse ones"
        )
    return gradient


def _bias_correction(step: int, beta1: float, beta2: float) -> float:
    return math.sqrt(1 - beta2**step) / (1 - beta1**step)
