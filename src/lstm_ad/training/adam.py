"""Adam, by torch's own step, without what importing torch's optimisers costs.

The first use of any ``torch.optim.Optimizer`` imports torch's compiler, of which
nothing is used here: more than three seconds of CPU time in every job, however short.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.adam import adam

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""The defaults of Kingma and Ba (2015), and of torch."""


class Adam:
    """The optimiser's state, and its step: bit by bit that of ``torch.optim.Adam``.

    Args:
        parameters: What it changes.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self.state = [
            {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for parameter in self._parameters
        ]
        """Of each parameter: what a checkpoint keeps."""

    def forget_gradients(self) -> None:
        """Start a new step."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Change the parameters by their gradients.

        Args:
            lr: The learning rate of this step.
        """
        states = [
            (parameter, parameter.grad, state)
            for parameter, state in zip(self._parameters, self.state, strict=True)
            if parameter.grad is not None
        ]
        adam(
            params=[parameter for parameter, _, _ in states],
            grads=[gradient for _, gradient, _ in states],
            exp_avgs=[state["exp_avg"] for _, _, state in states],
            exp_avg_sqs=[state["exp_avg_sq"] for _, _, state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for _, _, state in states],
            amsgrad=False,
            beta1=BETA_1,
            beta2=BETA_2,
            lr=lr,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )
