"""CP-Flow as a flow of gpot."""

from __future__ import annotations

from torch import Tensor, nn

from gpot.errors import BadInput
from gpot.flows.base import require_shape
from third_party.cpflow import CPFlow, InverseFailed


class CPFlowFlow(nn.Module):
    """Adapter of `third_party.cpflow.CPFlow`: checked inputs, exact log-determinant. The model stays the attribute
    `model`, with which the state dict has the released names.

    tolerance: of the inverse, |f(x) - z|; a plain attribute, for a later call to change.
    """

    def __init__(self, model: CPFlow, tolerance: float = 1e-9) -> None:
        super().__init__()
        self.dim = model.dim
        self.model = model
        self.tolerance = tolerance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        return self.model(require_shape(x, self, self.dim), log_det="exact")

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) without the log-determinant."""
        return self.model.transform(require_shape(x, self, self.dim))

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d). Raises BadInput with the number of points that miss the tolerance."""
        try:
            return self.model.inverse(require_shape(z, self, self.dim), tolerance=self.tolerance)
        except InverseFailed as error:
            raise BadInput(str(error)) from error
