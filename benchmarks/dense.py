r"""The velocity of eq. (14) to (19) built literally, as the released code does: the reference of the benchmark.

The Jacobian of the network by the closed-form chain rule (eq. 19), all d B outputs of it; then, for each block, d x d
matrices per particle, projected from both sides onto the components of the block (eq. 14, 15), and eq. (17). Written
from the formulas. diag(sigma') of eq. (19) is a matrix here, H x H per particle: so written, a step has the memory and
the time that were measured for the released code (at d = 10: 3.2 GB of saved tensors here for 60 evaluations, 3.6 GB
there for 75). `lean` multiplies rows by sigma' instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def dense_velocity(
    t: Tensor | float, c: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], lean: bool = False
) -> Tensor:
    """Velocity dc/dt in the cube, shape (n, d), from the layers of u (eq. 18): input (c, t), output `component * B +
    block`."""
    n, dim = c.shape
    jacobian = torch.eye(dim, dtype=c.dtype)  # replaced by the first layer
    layer = torch.cat((c, torch.as_tensor(t, dtype=c.dtype).expand(n, 1)), dim=1)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        layer = torch.tanh(layer @ weight.t() + bias)
        jacobian = weight[:, :dim].expand(n, -1, -1) if weight is weights[0] else weight @ jacobian
        slope = 1.0 - layer**2
        jacobian = slope[:, :, None] * jacobian if lean else torch.diag_embed(slope) @ jacobian
    layer, jacobian = layer @ weights[-1].t() + biases[-1], weights[-1] @ jacobian
    u = layer.view(n, dim, -1)
    jacobian = jacobian.view(n, dim, -1, dim)
    q = c**2 - 1.0
    field = torch.zeros_like(c)
    for block in range(u.shape[2]):
        ones = (torch.arange(dim) >= block).to(c.dtype)
        projection = torch.diag(ones)
        gradient = projection @ jacobian[:, :, block] @ projection
        difference = projection @ (u[:, :, None, block] - u[:, None, :, block]) @ projection
        trace = (q * torch.diagonal(gradient, dim1=1, dim2=2)).sum(1, keepdim=True)
        field = field + 2.0 * (difference @ c[:, :, None])[:, :, 0] + (gradient @ q[:, :, None])[:, :, 0] - trace * ones
    return q * field
