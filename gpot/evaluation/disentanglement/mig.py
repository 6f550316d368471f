r"""MIG: mutual information gap of a code (Chen, Li, Grosse and Duvenaud, 2018, sec. 4; key chen2018btcvae).

With I the mutual information of a coordinate :math:`c_i` and a factor :math:`v_j`, and H the entropy of the factor,

.. math:: \mathrm{MIG} = \frac1k \sum_j \frac{1}{H(v_j)} \bigl( I(c_{i_j}; v_j) - \max_{i \ne i_j} I(c_i; v_j) \bigr),
    \quad i_j = \mathrm{argmax}_i\, I(c_i; v_j).

It is 1 if each factor is known from one coordinate, and no other coordinate knows anything of it; 0 if each factor is
spread evenly over two coordinates or more, or in none. One coordinate may serve many factors: that costs nothing.

Departure: Chen et al. take :math:`c \sim q(z|x)` and integrate the encoder's density, so that the encoder's noise
counts. A flow has no such density, hence here each coordinate is cut into bins and I is that of the table of counts, as
Locatello et al. (2019; key locatello2019) do, by scikit-learn (key pedregosa2011). The codes are taken as they are
given: give means to score means.

The bins are of equal width between the smallest and the largest value of a coordinate, as in Locatello et al., so that
scores compare with theirs. Bins of equal count would not change under monotone maps of a coordinate, but they split the
ties of discrete codes by chance. What follows from equal width, and is not corrected:

- one outlier widens all bins of its coordinate;
- a factor with more classes than bins cannot reach 1: :math:`I \le \log n_\mathrm{bins}` (20 bins and 40 equal classes:
  at most 0.81);
- independent coordinates have I of about (bins - 1)(classes - 1) / 2n nats instead of 0 (0.009 for 20 bins, 40 classes
  and 40,000 rows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.evaluation.disentanglement.matrix import finite_matrix

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MigScore:
    """Score of one code. d coordinates, k factors; information in nats."""

    mig: float  # mean of the gaps
    gap_per_factor: Array  # (k,), each in units of the factor's entropy
    mutual_information: Array  # (d, k)
    factor_entropy: Array  # (k,)


def mig(codes: ArrayLike, factors: ArrayLike, n_bins: int = 20) -> MigScore:
    """Mutual information gap of the module's docstring.

    Arguments:
        codes: (n, d), d >= 2. Computed in float64 whatever the input.
        factors: (n, k), discrete: each distinct value of a column is one class, in no order.
        n_bins: bins of equal width for each coordinate. A bin holds its lower edge; the last one its upper edge too.

    A constant coordinate knows nothing: its I is 0.

    Raises: BadInput for shapes that do not match, NaN or infinity, fewer than two coordinates or bins, a factor with a
    single class (entropy 0), a factor whose values never repeat (it is continuous: I says nothing).
    """
    # imported where used, as in dci.py: scikit-learn takes a second or two to load
    from sklearn.metrics import mutual_info_score

    c, v = finite_matrix("codes", codes), finite_matrix("factors", factors)
    if len(c) != len(v) or c.shape[1] < 2:
        raise BadInput(
            "MIG compares coordinates row by row: codes (n, d) with d >= 2 and factors (n, k) are needed; got codes "
            f"{c.shape}, factors {v.shape}. Give both for the same images, and all coordinates at once."
        )
    if n_bins < 2:
        raise BadInput(f"n_bins must be at least 2; got {n_bins}. The usual number is 20.")

    classes = [np.unique(column, return_inverse=True)[1] for column in v.T]
    entropy = np.array([_entropy(j, label) for j, label in enumerate(classes)])
    bins = [_equal_width_bins(column, n_bins) for column in c.T]
    tables = ((_counts(bin_, label) for label in classes) for bin_ in bins)
    information = np.array([[mutual_info_score(None, None, contingency=table) for table in row] for row in tables])
    second, first = np.sort(information, axis=0)[-2:]
    gap = (first - second) / entropy
    return MigScore(float(gap.mean()), gap, information, entropy)


def _equal_width_bins(column: Array, n_bins: int) -> NDArray[np.int64]:
    """(n,) -> (n,) bin numbers. A constant column falls into one bin."""
    edges = np.linspace(column.min(), column.max(), n_bins + 1)
    return np.digitize(column, edges[1:-1]).astype(np.int64)


def _counts(bins: NDArray[np.int64], label: NDArray[np.intp]) -> NDArray[np.int64]:
    """How many rows have each bin and class, (bins, classes)."""
    n_classes = int(label.max()) + 1
    cells = np.bincount(bins * n_classes + label, minlength=(int(bins.max()) + 1) * n_classes)
    return cells.reshape(-1, n_classes)


def _entropy(j: int, label: NDArray[np.intp]) -> float:
    """Entropy in nats of factor j, from its class numbers (n,)."""
    counts = np.bincount(label)
    if len(counts) == 1:
        raise BadInput(
            f"Every factor must vary; column {j} of factors has a single class in {len(label)} rows, so its entropy is "
            "0 and its gap is undefined. Leave constant factors (dSprites: colour) out, or take more images."
        )
    if len(counts) == len(label):
        raise BadInput(
            f"MIG needs discrete factors; column {j} of factors has {len(label)} distinct values in {len(label)} rows, "
            "so each row is a class of its own. Cut it into classes first: np.digitize(column, edges)."
        )
    p = counts / len(label)
    return float(-(p * np.log(p)).sum())
