"""Energy of a Gaussian-preserving flow, in the cube whatever its chart, so that it compares with the paper's."""

from __future__ import annotations

import torch

from gpot.evaluation.estimate import Estimate
from gpot.gp.flow import GaussianPreservingFlow


@torch.no_grad()
def cube_energy(
    gp: GaussianPreservingFlow,
    n: int = 20_000,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    chunk: int = 1024,
) -> Estimate:
    r"""Action of the flow over uniform particles of the cube (eq. 9), a mean, so per unit of volume.

    .. math:: \mathcal E = \int_0^1 E_{c \sim U(-1,1)^d} \tfrac12 |\dot c(t)|^2 \, dt

    Particles are z ~ N(0, I), whose c is uniform; the time integral is the trapezoidal rule on the grid of the flow.
    The rotation, which happens at once, has no energy. dtype and device default to those of the flow; `generator`
    lives there.
    Departure: the released code sums dt |v(t_n, X(t_{n+1}))|^2 / 2 (time and place of different steps), over a mesh
    with the boundary in 2-D.
    """
    like = gp.rotation
    z = torch.randn(n, gp.dim, dtype=dtype or like.dtype, device=device or like.device, generator=generator)
    actions = []
    for rows in z.split(chunk):
        path = gp.flow_trajectory(rows)
        kinetic = 0.5 * (gp.cube_velocities(path) ** 2).sum(-1)
        actions.append(torch.trapezoid(kinetic, path.times, dim=0))
    return Estimate.of(torch.cat(actions))
