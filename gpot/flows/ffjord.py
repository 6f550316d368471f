"""FFJORD as a flow of gpot, and samples of its model law in bulk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpot.errors import BadInput
from gpot.flows.base import Flow, require_shape
from third_party.ffjord import FFJORD


class FFJORDFlow(nn.Module):
    """Adapter of `third_party.ffjord.FFJORD`: checked inputs, exact divergence. The model stays the attribute `model`,
    with which the state dict has the released names, and a trained flow can be solved more finely (`model.n_steps`).
    """

    def __init__(self, model: FFJORD) -> None:
        super().__init__()
        self.dim = model.dim
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        return self.model(require_shape(x, self, self.dim), divergence="exact")

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) without the log-determinant."""
        return self.model.transform(require_shape(x, self, self.dim))

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d)."""
        return self.model.inverse(require_shape(z, self, self.dim))


@torch.no_grad()
def pull_back(
    flow: Flow,
    z: Tensor,
    chunk: int = 16384,
    allow_lost: bool = False,
) -> Tensor:
    """x = f^-1(z), (n, d), in pieces of `chunk` rows; z ~ N(0, I) gives samples of the flow's model law.

    Nothing is dropped. `allow_lost`: for a flow that is not onto, whose rows without a preimage are not finite.
    Raises: BadInput for such rows otherwise.
    """
    if chunk < 1:
        raise BadInput(f"pull_back needs pieces of at least one row, got chunk={chunk}. Try chunk=16384.")
    pieces = [flow.inverse(z[start : start + chunk]) for start in range(0, len(z), chunk)]
    x = torch.cat(pieces) if pieces else torch.empty_like(z)
    lost = int((~x.isfinite().all(dim=1)).sum())
    if lost and not allow_lost:
        raise BadInput(
            f"f^-1 of {lost} of {len(z)} points is not finite. "
            "Solve the flow more finely (n_steps, or atol and rtol), or check that z lies in its range."
        )
    return x
