r"""The ridge field in the direct chart with its derivatives along directions, and the gradient of both written out.

In the packed form of :mod:`gpot.maths.ridge_path`, rows = (g, e, f) = into (y, 1, t), c = sigmoid(g) - 1/2:

.. math:: v = \mathrm{const} + \mathrm{back}^\top (c^2,\; c e,\; c f), \qquad
          (\nabla v)\, u = \mathrm{back}^\top (2 c c',\; c e' + c' e,\; c f' + c' f), \quad c' = (1/4 - c^2)\, g',

where (g', e', f') = into u. The values and each direction are a stream of their own, (d, m) in and (3 K, m) between,
in chunks of m particles whose arrays fit in a cache and are written again and again; the backward pass rebuilds what it
needs from y and u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

_CELLS = 32_768  # neurons times particles of a chunk: three arrays of 3 K rows for each of three streams


def ridge_along_path(
    y: Tensor, t: Tensor, u: Tensor, into: Tensor, back: Tensor, constant: Tensor
) -> tuple[Tensor, Tensor]:
    """v (n, d) and its derivatives (k, n, d) along u (k, n, d).

    Arguments: y (n, d); t (n,); into, back, constant: of :func:`gpot.maths.ridge_path.packed`.
    """
    return cast(tuple[Tensor, Tensor], _Along.apply(y, t, u, into, back, constant))


def _formula(y: Tensor, t: Tensor, u: Tensor, into: Tensor, back: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    g, e, f = torch.addmm(into[:, -2:-1] + into[:, -1:] * t, into[:, :-2], y.t()).tensor_split(3)
    gs, es, fs = (u @ into[:, :-2].t()).transpose(1, 2).tensor_split(3, dim=1)
    c = torch.sigmoid(g) - 0.5
    cs = (0.25 - c * c) * gs
    v = torch.addmm(constant[:, None], back.t(), torch.cat((c * c, e * c, f * c))).t()
    return v, torch.cat((2.0 * c * cs, es * c + e * cs, fs * c + f * cs), dim=1).transpose(1, 2) @ back


def ridge_jacobian(into: Tensor, back: Tensor, constant: Tensor) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    r"""v (n, d) and its Jacobian (n, d, d), as a function of t, () or (n,), and y (n, d).

    A product of 4 K numbers a particle with the outer products of the rows of back and of into, which are made once:

    .. math:: \nabla v = \sum_k 2 c_k c'_k\, b^1_k \otimes w_k + c'_k e_k\, b^2_k \otimes w_k + c'_k f_k\, b^3_k
              \otimes w_k + c_k\, (b^2_k \otimes \beta_k + b^3_k \otimes \alpha_k), \qquad c' = 1/4 - c^2,

    with back = (b^1, b^2, b^3) and into = (w, beta, alpha), the last in the scale of the packed form. A third of the
    products of d directions by :func:`ridge_along_path`, and a d-th of the other work.
    """
    dim = back.shape[1]
    b1, b2, b3 = back.tensor_split(3)
    w, beta, alpha = into[:, :dim].tensor_split(3)

    def outer(left: Tensor, right: Tensor) -> Tensor:
        return (left[:, :, None] * right[:, None, :]).flatten(1)

    outers = torch.cat((outer(b1, w), outer(b2, w), outer(b3, w), outer(b2, beta) + outer(b3, alpha)))

    def values(t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        at = into[:, -2] + into[:, -1] * t[..., None]
        g, e, f = (at + y @ into[:, :dim].t()).tensor_split(3, dim=1)
        c = torch.sigmoid(g) - 0.5
        slope = 0.25 - c * c
        v = torch.addmm(constant, torch.cat((c * c, e * c, f * c), dim=1), back)
        return v, (torch.cat((2.0 * c * slope, e * slope, f * slope, c), dim=1) @ outers).view(-1, dim, dim)

    return values


class _Along(torch.autograd.Function):
    @staticmethod
    def forward(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        return _forward(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Sequence[Tensor], _: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_along: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        grad_along = torch.zeros_like(inputs[2]) if grad_along is None else grad_along
        if torch.is_grad_enabled():  # to be differentiated again
            grad = torch.zeros_like(inputs[0]) if grad is None else grad
            return cast(tuple[Tensor, ...], torch.func.vjp(_formula, *inputs)[1]((grad, grad_along)))
        return _backward(inputs, grad, grad_along)


class _Room:
    """Arrays by name, for one chunk after another: fresh ones would be given back to the system and cleared each time.
    The first chunk is the largest."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.held: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        cells = math.prod(shape)
        if name not in self.held:
            self.held[name] = self.like.new_empty(cells)
        return self.held[name][:cells].view(shape)


def _chunks(n: int, width: int) -> list[slice]:
    size = max(64, _CELLS // width)
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def _columns(room: _Room, y: Tensor, t: Tensor, u: Tensor, here: slice) -> Tensor:
    """(y, 1, t), (u_1, 0, 0), ...: shape (1 + k, d + 2, m)."""
    d = y.shape[1]
    columns = room("columns", 1 + len(u), d + 2, here.stop - here.start)
    columns[0, :d], columns[0, d], columns[0, d + 1] = y[here].t(), 1.0, t[here]
    columns[1:, :d], columns[1:, d:] = u[:, here].transpose(1, 2), 0.0
    return columns


def _rows(room: _Room, into: Tensor, columns: Tensor) -> Tensor:
    """into times the columns of each stream: (1 + k, 3, K, m)."""
    rows = room("rows", len(columns), 3, len(into) // 3, columns.shape[2])
    for one, result in zip(columns, rows.flatten(1, 2), strict=True):
        torch.mm(into, one, out=result)
    return rows


def _gates(room: _Room, rows: Tensor) -> Tensor:
    """Turns g into c and g' into c', in place. Returns: 1/4 - c^2, (K, m)."""
    c = rows[0, 0].sigmoid_().sub_(0.5)
    fall = torch.mul(c, c, out=room("fall", *c.shape)).neg_().add_(0.25)
    rows[1:, 0].mul_(fall)
    return fall


def _products(room: _Room, rows: Tensor) -> Tensor:
    """(c^2, c e, c f) and its tangents, as the rows are, (1 + k, 3 K, m)."""
    out = torch.mul(rows, rows[0, 0], out=room("products", *rows.shape))
    out[1:, 0].mul_(2.0)
    for product, tangents in zip(out[1:], rows[1:], strict=True):
        product[1:].addcmul_(rows[0, 1:], tangents[0])
    return out.flatten(1, 2)


def _forward(y: Tensor, t: Tensor, u: Tensor, into: Tensor, back: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    v, along, back_t, room = torch.empty_like(y), torch.empty_like(u), back.t().contiguous(), _Room(y)
    for here in _chunks(len(y), len(into) // 3):
        rows = _rows(room, into, _columns(room, y, t, u, here))
        _gates(room, rows)
        products = _products(room, rows)
        v[here] = torch.addmm(constant[:, None], back_t, products[0]).t()
        for direction, product in zip(along, products[1:], strict=True):
            direction[here] = torch.mm(back_t, product).t()
    return v, along


def _backward(inputs: Sequence[Tensor], grad: Tensor | None, grad_along: Tensor) -> tuple[Tensor | None, ...]:
    """grad: None where nothing looks at the values."""
    y, t, u, into, back, _ = inputs
    d, room = y.shape[1], _Room(y)
    g_y, g_u = torch.empty_like(y), torch.empty_like(u)
    g_into_t, g_back_t = torch.zeros_like(into.t().contiguous()), torch.zeros_like(back.t().contiguous())
    down_t = into[:, :d].t().contiguous()
    for here in _chunks(len(y), len(into) // 3):
        columns = _columns(room, y, t, u, here)
        rows = _rows(room, into, columns)
        turning = room("turning", *rows[1:, 0].shape).copy_(rows[1:, 0])  # g'
        fall = _gates(room, rows)
        products, received = _products(room, rows), room("received", *rows.shape)
        for index, result in enumerate(received.flatten(1, 2)):
            source = grad if index == 0 else grad_along[index - 1]
            if source is not None:
                at = source[here].t().contiguous()
                g_back_t.addmm_(at, products[index].t())
                torch.mm(back, at, out=result)
        _received_to_rows(room, rows, turning, fall, received, grad is not None)
        for index, (column, row) in enumerate(zip(columns, received.flatten(1, 2), strict=True)):
            g_into_t.addmm_(column, row.t())
            (g_y if index == 0 else g_u[index - 1])[here] = torch.mm(down_t, row).t()
    return g_y, None, g_u, g_into_t.t(), g_back_t.t(), None if grad is None else grad.sum(0)


def _received_to_rows(
    room: _Room, rows: Tensor, turning: Tensor, fall: Tensor, received: Tensor, values_too: bool
) -> None:
    """The gradients R in the products turned into those in g, e, f and their tangents, in place.

    In c: (2 c, e, f) . R of the values and (2 c', e', f') . R' of each direction; in c': (2 c, e, f) . R'; in e, f: c R
    and c' R'; in e', f': c R'. values_too: whether R of the values is not 0; it need not be filled then.
    """
    c, values, own = rows[0, 0], rows[0, 1:], received[0]
    g_c = room("g_c", *c.shape)
    if values_too:
        torch.mul(c, own[0], out=g_c).mul_(2.0).addcmul_(values[0], own[1]).addcmul_(values[1], own[2])
        own[1:].mul_(c)
    else:
        g_c.zero_()
        own[1:].zero_()
    for tangents, along, bend in zip(rows[1:], received[1:], turning, strict=True):
        g_c.addcmul_(tangents[0], along[0], value=2.0)
        g_c.addcmul_(tangents[1], along[1]).addcmul_(tangents[2], along[2])
        own[1:].addcmul_(along[1:], tangents[0])
        g_turned = along[0].mul_(c).mul_(2.0).addcmul_(values[0], along[1]).addcmul_(values[1], along[2])
        g_c.addcmul_(bend.mul_(c), g_turned, value=-2.0)
        g_turned.mul_(fall)
        along[1:].mul_(c)
    torch.mul(g_c, fall, out=own[0])
