r"""The base law of a flow, composed with the exact map that carries it to N(0, I).

A flow with codes u ~ B is a flow with codes z ~ N(0, I) once u is mapped on by h with h#B = N(0, I). Its density is the
same to rounding, whatever the law: log N(z) + log|det dh/du| = log B(u) by the choice

* of a normal law: z = L^-1 (u - m) for the covariance L L^T;
* of a product of one-dimensional laws: z_i = Phi^-1(F_i(u_i)), log|dz_i/du_i| = log p_i(u_i) - log N(z_i).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from gpot.constants import LOG_2_PI
from gpot.errors import FlowRefused

_BISECTIONS = 100  # halvings of a bracket: past the digits of float64
_WIDEST = 2.0**60  # bracket of a quantile


class Base(nn.Module):
    """N(0, I) itself. forward: u -> (z, log|det dz/du|), both of the dtype of u. inverse: z -> u."""

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """z (n, d) and the log-determinant (n,) for u (n, d)."""
        return u, torch.zeros_like(u[:, 0])

    def inverse(self, z: Tensor) -> Tensor:
        """u (n, d)."""
        return z


class NormalBase(Base):
    """N(loc, L L^T): loc (d,); scale (d,), the diagonal of L, or L (d, d), lower triangular."""

    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("loc", loc.detach().clone())
        self.register_buffer("scale", scale.detach().clone())

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        centred, scale = u - self.loc.to(u), self.scale.to(u)
        if scale.ndim == 1:
            return centred / scale, -scale.abs().log().sum().expand(len(u))
        z = torch.linalg.solve_triangular(scale, centred.T, upper=False).T
        return z, -scale.diagonal().abs().log().sum().expand(len(u))

    def inverse(self, z: Tensor) -> Tensor:
        scale = self.scale.to(z)
        return self.loc.to(z) + (z * scale if scale.ndim == 1 else z @ scale.T)


class ProductBase(Base):
    """Independent coordinates of the one-dimensional laws `law`, of batch shape (d,), with a distribution function.

    Computed in float64, where Phi^-1(F) reaches |z| = 8. A u outside the support has z infinite.
    """

    def __init__(self, law: Distribution, dim: int) -> None:
        super().__init__()
        self.law = _moved(law, torch.zeros(0, dtype=torch.float64))
        self.dim = dim

    def _at(self, like: Tensor) -> Distribution:
        """The law on the device of `like`."""
        return self.law if like.device.type == "cpu" else _moved(self.law, like.double())

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        law = self._at(u)
        z = torch.special.ndtri(law.cdf(u.double()))
        log_det = law.log_prob(u.double()) + 0.5 * (z * z + LOG_2_PI)
        return z.to(u), log_det.expand_as(u).sum(1).to(u)

    def inverse(self, z: Tensor) -> Tensor:
        return quantile(self._at(z), torch.special.ndtr(z.double())).expand_as(z).to(z)


class JoinedBase(Base):
    """Independent blocks of coordinates, each with its own base."""

    def __init__(self, bases: Sequence[Base], sizes: Sequence[int]) -> None:
        super().__init__()
        self.bases, self.sizes = nn.ModuleList(bases), list(sizes)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        parts = [base(part) for base, part in zip(self.bases, u.split(self.sizes, 1), strict=True)]
        return torch.cat([z for z, _ in parts], 1), torch.stack([log_det for _, log_det in parts]).sum(0)

    def inverse(self, z: Tensor) -> Tensor:
        parts = zip(self.bases, z.split(self.sizes, 1), strict=True)
        return torch.cat([cast(Base, base).inverse(part) for base, part in parts], 1)


def read_base(law: Any, dim: int) -> Base:
    """The map to N(0, I) of a base law over R^dim: a torch distribution (or one of a library that derives from it).

    Normal laws, diagonal or full; every product of one-dimensional laws with a distribution function; blocks of these
    (zuko's Joint). Raises FlowRefused with the name of any other.
    """
    if law is None or isinstance(law, Base):
        return law or Base()
    name, event = type(law).__name__, tuple(getattr(law, "event_shape", ()))
    if isinstance(law, Independent):
        return read_base(law.base_dist, dim)
    if name == "ExpandedDistribution":
        return read_base(law.base_dist, dim)
    if name == "Joint" and hasattr(law, "marginals"):
        sizes = [max(1, marginal.event_shape.numel()) for marginal in law.marginals]
        return JoinedBase([read_base(part, k) for part, k in zip(law.marginals, sizes, strict=True)], sizes)
    if isinstance(law, (MultivariateNormal, LowRankMultivariateNormal)):
        return normal_base(_row(law.loc, dim), _row(law.scale_tril, dim, matrix=True))
    if isinstance(law, Normal):
        return normal_base(_row(law.loc, dim), _row(law.scale, dim))
    if isinstance(law, Distribution) and event == ():
        law = _without_batch(law)
        if law.batch_shape.numel() not in (1, dim):
            raise FlowRefused(f"the base {name} has {law.batch_shape.numel()} coordinates, and the flow has {dim}")
        base = ProductBase(law, dim)
        try:
            z = torch.linspace(-1.0, 1.0, 3, dtype=torch.float64)[:, None].expand(3, dim)
            back, log_det = base(base.inverse(z))
            if torch.allclose(back, z, atol=1e-6) and log_det.isfinite().all():
                return base
        except NotImplementedError:
            pass
    raise FlowRefused(
        f"the base {name} is neither normal nor a product of one-dimensional laws with a distribution function, so no "
        "exact map carries it to N(0, I); train the flow with one of these, or pass base=None if its codes are N(0, I)"
    )


def normal_base(loc: Tensor, scale: Tensor) -> Base:
    """N(loc, scale scale^T), or N(0, I) itself where it is that."""
    standard = bool((loc == 0).all()) and scale.ndim == 1 and bool((scale == 1).all())
    return Base() if standard else NormalBase(loc, scale)


def quantile(law: Distribution, p: Tensor) -> Tensor:
    """The u with F(u) = p (n, d), by the law's own inverse or by halving a bracket of it."""
    try:
        return law.icdf(p)
    except NotImplementedError:
        pass
    low, high = torch.full_like(p, -1.0), torch.ones_like(p)
    while (short := (law.cdf(low) > p) & (low > -_WIDEST)).any():
        low = torch.where(short, 2.0 * low, low)
    while (short := (law.cdf(high) < p) & (high < _WIDEST)).any():
        high = torch.where(short, 2.0 * high, high)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = law.cdf(middle) < p
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def _row(values: Tensor, dim: int, matrix: bool = False) -> Tensor:
    """The parameters of one law: batch axes of length 1 are dropped, a number is repeated."""
    axes = 2 if matrix else 1
    while values.ndim > axes:
        if values.shape[0] != 1 and not (values == values[:1]).all():
            raise FlowRefused("the base has one law per row of a batch; give one context, or a base without a batch")
        values = values[0]
    return values.expand(dim) if values.ndim == 0 or values.shape == (1,) else values


def _without_batch(law: Distribution) -> Distribution:
    """The law whose batch is its coordinates: leading axes of length 1 are dropped."""
    shape = law.batch_shape
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return law if shape == law.batch_shape else _reshaped(law, shape)


def _reshaped(law: Distribution, shape: torch.Size) -> Distribution:
    flat = copy.copy(law)
    for key, value in vars(law).items():
        if isinstance(value, Tensor) and value.ndim == len(law.batch_shape):
            setattr(flat, key, value.reshape(shape))
    flat._batch_shape = shape
    return flat


def _moved(thing: Any, like: Tensor) -> Any:
    """A copy of a distribution, and of what it is made of, with its tensors detached, of the dtype and device of
    `like`, and without checks of its arguments (a u outside the support is not an error here)."""
    if isinstance(thing, Tensor):
        return thing.detach().to(like) if thing.is_floating_point() else thing.detach().to(like.device)
    if isinstance(thing, (list, tuple)):
        return type(thing)(_moved(part, like) for part in thing) if type(thing) in (list, tuple) else thing
    if type(thing).__name__ == "_InverseTransform":  # it and its inverse hold one another
        return _moved(thing.inv, like).inv
    if isinstance(thing, (Distribution, torch.distributions.Transform)) and not isinstance(thing, nn.Module):
        twin = copy.copy(thing)
        for key, value in vars(thing).items():
            if not key.startswith("_") or isinstance(value, (Tensor, Distribution)):
                twin.__dict__[key] = _moved(value, like)
        if isinstance(twin, Distribution):
            twin._validate_args = False
        return twin
    return thing
