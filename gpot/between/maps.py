r"""The map between the laws of two flows: T = g^-1 o s o f.

Symbols: f carries P to N(0, I), g carries Q there, s keeps N(0, I). Then T#P = Q, and every invertible T with T#P = Q
is of this form: s = g o T o f^-1 is Gaussian-preserving. So the choice of s is all the freedom there is, and any s
keeps both densities:

.. math:: p_P(x) = p_Q(T(x))\, |\det T'(x)|, \qquad
          \log|\det T'| = \log|\det f'| + \log|\det s'| - \log|\det g'| \circ T

(the last step of the paper, which has one flow and the Gaussian).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpot.between.report import BetweenReport
from gpot.errors import BadConfig
from gpot.flows.base import Flow
from gpot.flows.implicit import forward_map, freeze, unfrozen
from gpot.gp.base import GaussianPreserving
from gpot.gp.inverted import Inverted
from gpot.maths.transport import gaussian_log_density, jacobian


class MongeBetween(nn.Module):
    """x -> g^-1(s(f(x))). `source` f, `target` g, both frozen; `gp` s; `report` what its fit measured, or None.

    A row of NaN is a point whose image has no inverse under g (of flows that are not onto, as BNAF), for the caller to
    count.
    """

    def __init__(self, source: Flow, target: Flow, gp: GaussianPreserving) -> None:
        super().__init__()
        if not source.dim == target.dim == gp.dim:
            raise BadConfig(
                f"a map between two flows needs f, g and s of one dimension, and they have {source.dim}, {target.dim} "
                f"and {gp.dim}; fit both flows on data of the same number of columns"
            )
        self.dim = gp.dim
        self.source, self.target = freeze(source), freeze(target)
        self.gp = gp
        self.report: BetweenReport | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y = T(x) (n, d) and log|det dT/dx| (n,)."""
        z, log_det_f = self.source(x)
        s, log_det_s = self.gp(z)
        y = self.target.inverse(s)
        return y, log_det_f + log_det_s - self.target(y)[1]

    @torch.no_grad()
    def transport(self, x: Tensor) -> Tensor:
        """T(x) alone (n, d)."""
        return self.target.inverse(self.gp.transport(self.source.transform(x)))

    @torch.no_grad()
    def inverse(self, y: Tensor, refine: int = 0) -> Tensor:
        """x with T(x) = y (n, d), the Monge map from Q to P; `refine` corrections of s^-1."""
        return self.source.inverse(self.gp.inverse(self.target.transform(y), refine))

    def reversed(self) -> MongeBetween:
        """T^-1 as a map of its own, from Q to P: f^-1 o s^-1 o g. It has no report yet; `measured` gives it one."""
        gp = self.gp.inner if isinstance(self.gp, Inverted) else Inverted(self.gp)
        return MongeBetween(self.target, self.source, gp)

    @torch.no_grad()
    def jacobian(self, x: Tensor) -> Tensor:
        """T'(x) (n, d, d), by the chain rule: g'(y)^-1 s'(z) f'(x), each by forward mode; g's inverse is not
        differentiated."""
        before = jacobian(forward_map(unfrozen(self.source)), x)
        z = self.source.transform(x)
        turned = jacobian(self.gp.transport, z) @ before
        return torch.linalg.solve(jacobian(forward_map(unfrozen(self.target)), self.transport(x)), turned)

    def source_log_density(self, x: Tensor) -> Tensor:
        """log p_P(x) of the source flow (n,)."""
        z, log_det = self.source(x)
        return gaussian_log_density(z) + log_det

    def target_log_density(self, y: Tensor) -> Tensor:
        """log p_Q(y) of the target flow (n,)."""
        z, log_det = self.target(y)
        return gaussian_log_density(z) + log_det

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n pairs (x, T(x)), x drawn from the model P: each (n, d). z ~ N(0, I) is drawn on the CPU."""
        z = torch.randn(n, self.dim, generator=generator).to(self.gp.rotation)
        return self.source.inverse(z), self.target.inverse(self.gp.transport(z))
