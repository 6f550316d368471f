"""Stage `evaluate`: everything that a table says of one row, measured on held-out points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from gpot.config.choices import Source
from gpot.config.plain import without
from gpot.config.schema import (
    Config,
    DSpritesConfig,
    EuclideanCost,
    EvaluateConfig,
    MahalanobisCost,
    PointsConfig,
)
from gpot.data import dsprites
from gpot.data.points import Standardization
from gpot.errors import FidelityLost, InverseNotAvailable
from gpot.evaluation.certificate import certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.disentanglement.dci import Protocol, dci_scores
from gpot.evaluation.disentanglement.mig import mig
from gpot.evaluation.disentanglement.sap import sap
from gpot.evaluation.energy import cube_energy
from gpot.evaluation.likelihood import log_det_error, nll, nll_exact
from gpot.evaluation.optimum import discrete_optimum
from gpot.gp.base import analytic_log_det
from gpot.gp.monge import MongeMap
from gpot.jsonable import jsonable
from gpot.maths.costs import Cost, squared_euclidean
from gpot.maths.transport import gelbrich
from gpot.paper.rows import Row
from gpot.stages.costs import cost_of, cost_settings
from gpot.stages.held_out import HeldOut, labelled_rows, z_labelled
from gpot.stages.maps import RowParts, map_of, moved_by
from gpot.stages.points import points_by_rows
from gpot.stages.stage import Bench, Stage, generator
from gpot.stages.vae import images_of

MOVED = "moved.safetensors"  # s: where the row takes the held-out points of its cost


def evaluate_stage(config: Config, parts: RowParts) -> Stage:
    """Metrics of one row, in the manifest and in `metrics.json`; where it takes held-out points, in
    `moved.safetensors`.

    cost, certificate and round trip are of the law that the GP flow is trained on (`gp.source`), held out: prior
    samples pulled back by the flow, or data; then `cost_data` and the likelihoods are of held-out data, the energy of
    uniform particles in the cube, and for labelled images the disentanglement of the split of the printed table.
    """
    # the exact discrete transport problems are a stage of their own
    measured = without(config.evaluate, "optimum_sizes", "optimum_repeats")
    settings: dict[str, Any] = {"evaluate": measured, "seed": config.seed, **parts.settings}
    settings |= cost_settings(config.cost)
    if isinstance(config.dataset, PointsConfig) and config.dataset.standardize:
        settings["units"] = "data"
    return Stage("evaluate", 6, config, settings, parts.stages, partial(_measure, parts.row), partly=("latents",))


def _measure(row: Row, bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    monge = map_of(config, bench.inputs)
    points = points_by_rows(bench)
    seen = None if row is Row.latent else HeldOut.of(bench.inputs["held_out"])
    metrics: dict[str, Any] = {}
    if isinstance(config.dataset, DSpritesConfig):
        labelled = labelled_rows(config.evaluate, points.n)
        if seen is None:
            codes = points.read(torch.from_numpy(labelled))
        else:
            codes = moved_by(monge.gp, z_labelled(bench.inputs["labelled"]))
        index = images_of(config).index()[labelled]
        metrics |= _disentanglement(config.evaluate, config.seed, index, codes.numpy())
    if seen is not None:
        metrics |= _transport(row, seen, monge, points.units, bench)
    (bench.folder / "metrics.json").write_text(json.dumps(jsonable(metrics), indent=2, allow_nan=False) + "\n")
    return metrics


def _disentanglement(
    evaluate: EvaluateConfig, seed: int, index: NDArray[np.int64], codes: NDArray[np.float32]
) -> dict[str, Any]:
    """DCI, MIG and SAP of a row's codes (n, d) of the labelled images by both protocols.

    index: of dSprites, whose factors it says; the first `n_dci_train` are those that the regression learns from.
    """
    assert evaluate.n_dci_train is not None
    escaped = ~np.isfinite(codes).all(1)
    values = dsprites.values_of(dsprites.classes_of(index))
    kept = np.flatnonzero(~escaped)
    part = kept < evaluate.n_dci_train
    metrics: dict[str, Any] = {"escaped_codes": int(escaped.sum()), "dci": {}}
    for protocol in Protocol:
        factors = protocol.factors(values)
        halves = (codes[kept[part]], factors[kept[part]], codes[kept[~part]], factors[kept[~part]])
        scores = dci_scores(*halves, regressor=evaluate.regressor, alpha=evaluate.alpha, seed=seed)
        gap = mig(codes[kept], factors[kept])
        separated = sap(*halves, discrete=[name == "shape" for name in protocol.factor_names], seed=seed)
        metrics["dci"][protocol.value] = {
            "disentanglement": scores.disentanglement,
            "completeness": scores.completeness,
            "informativeness": scores.informativeness,
            "informativeness_train": scores.informativeness_train,
            "factors": list(protocol.factor_names),
            "completeness_per_factor": scores.completeness_per_factor.tolist(),
            "nrmse_per_factor": scores.nrmse_per_factor.tolist(),
            "importance": scores.importance.tolist(),
            "mig": gap.mig,
            "mig_per_factor": gap.gap_per_factor.tolist(),
            "sap": separated.sap,
            "sap_per_factor": separated.gap_per_factor.tolist(),
        }
    return metrics


def _transport(row: Row, seen: HeldOut, monge: MongeMap, units: Standardization | None, bench: Bench) -> dict[str, Any]:
    """Cost, likelihood, energy, round trip, certificate, escaped particles. Escaped rows are counted, then left out.

    With another cost than |x - s|^2 `cost` is that one, and `optimum` its least between the same points and their
    images, of the first `_MATCHED`.

    Of standardized data the likelihoods, and `cost_units` beside the cost, are in the units of the user's file.
    """
    config, flow, gp = bench.config, monge.flow, monge.gp
    cost = cost_of(config.cost, bench.inputs.get("pairs"))
    evaluate, data = config.evaluate, seen.data
    metrics: dict[str, Any] = {"n_parameters_flow": sum(p.numel() for p in flow.parameters())}
    from_prior = config.gp.source is Source.prior
    if from_prior:
        metrics["lost"] = seen.lost
    x, s = seen.x, moved_by(gp, seen.z)
    save_file({"s": s.contiguous()}, bench.folder / MOVED)
    inside = s.isfinite().all(1)
    x, s = x[inside], s[inside]
    gap = certificate(x, s, evaluate.certificate_batch, evaluate.certificate_batches, generator(config.seed, 3), cost)
    metrics |= {"escaped": int((~inside).sum()), "certificate": gap.mean, "certificate_stderr": gap.stderr}
    metrics |= above_floor(x, _named_cost("cost", x, s))  # of the law, whatever the cost
    if not isinstance(config.cost, EuclideanCost):
        del metrics["gelbrich"]  # the floor of |x - s|^2 alone
        metrics |= _named_cost("cost", x, s, cost) | {"optimum": discrete_optimum(x[:_MATCHED], s[:_MATCHED], cost)}
    if units is not None and not isinstance(config.cost, MahalanobisCost):  # which has no units
        scale = torch.from_numpy(units.scale)
        metrics |= _named_cost("cost_units", x.double() * scale, s.double() * scale, cost)
    n_looked = min(evaluate.n_exact, _LOOKED)
    metrics |= _round_trip(monge, x[:n_looked], s[:n_looked])
    z, log_det = seen.z_data.to(flow.device), seen.log_det.to(flow.device)
    log_det = log_det if units is None else log_det + units.log_det
    if row is Row.flow:
        likelihood = nll(z, log_det)
        metrics |= {
            "escaped_data": 0, "nll_stderr": likelihood.stderr,
            "nll_analytic": likelihood.mean, "nll_exact": likelihood.mean,
        }  # fmt: skip
        return metrics | (_named_cost("cost_data", data, z.cpu(), cost) if from_prior else {})
    s_data = moved_by(gp, z).to(z)
    ok = s_data.isfinite().all(1)
    analytic = nll(s_data[ok], (log_det + analytic_log_det(s_data, z))[ok])
    samples = torch.randn(n_looked, flow.dim, generator=generator(config.seed, 4))
    error = log_det_error(gp, samples.to(flow.device))
    metrics |= {
        "escaped_data": int((~ok).sum()), "nll_analytic": analytic.mean, "nll_stderr": analytic.stderr,
        "nll_exact": nll_exact(gp, z[ok], log_det[ok], evaluate.n_exact, s_data[ok]).mean,
        "logdet_error_mean": error.mean, "logdet_error_max": error.max,
    }  # fmt: skip
    if gp.flow_in_time is not None:
        energy = cube_energy(
            gp.flow_in_time, min(evaluate.n_prior, _MOVING), torch.Generator(flow.device).manual_seed(config.seed)
        )
        metrics |= {"energy": energy.mean, "energy_stderr": energy.stderr}
    elif row is Row.rotation:  # it happens at once: nothing flows
        metrics |= {"energy": 0.0, "energy_stderr": 0.0}
    if row.moves:
        metrics |= {"n_steps": gp.n_steps, "n_parameters_gp": sum(p.numel() for p in gp.parameters())}
    if from_prior:
        metrics |= _named_cost("cost_data", data[ok.cpu()], s_data[ok].cpu(), cost)
    return metrics


def _round_trip(monge: MongeMap, x: Tensor, s: Tensor) -> dict[str, Any]:
    """|x - f^-1(s^-1(s(f(x))))|, mean and largest, and how many have no way back (f need not be onto); nothing where f
    has no inverse."""
    try:
        back = monge.inverse(s.to(monge.gp.rotation.device)).cpu()
    except InverseNotAvailable:
        return {}
    kept = back.isfinite().all(1)
    distance = (back - x)[kept].norm(dim=1)
    lost = int((~kept).sum())
    if lost == len(kept):
        return {"roundtrip_lost": lost}
    return {"roundtrip": distance.mean().item(), "roundtrip_max": distance.max().item(), "roundtrip_lost": lost}


_LOOKED = 500  # points of round trips and of errors of the log-determinant: a mean is then known to some percent
_MOVING = 5000  # particles whose energy is averaged: to a percent or two
_MATCHED = 1000  # pairs of the exact discrete optimum: a second
_IMPOSSIBLE = 5.0  # standard errors below the floor: no accident of sampling
_BIASES = 4.0  # and the upward bias of the floor at n points, this many times: it is exact for a standard Gaussian only


def above_floor(x: Tensor, cost: dict[str, float]) -> dict[str, float]:
    """The cost beside Gelbrich's floor of W2^2(x, N(0, I)), which needs no solver.

    Raises: FidelityLost for a cost below it: such a map does not keep the Gaussian.
    """
    rows = x.double()
    zero, identity = torch.zeros_like(rows[0]), torch.eye(rows.shape[1], dtype=torch.float64)
    floor = gelbrich(rows.mean(0), rows.T.cov(), zero, identity).item()
    # E of the floor at n points of N(0, I) itself: d / n from the mean, d (d + 1) / (4 n) from the covariance
    n, d = rows.shape
    bias = (d + d * (d + 1) / 4) / n
    if cost["cost"] < floor - _IMPOSSIBLE * cost["cost_stderr"] - _BIASES * bias:
        raise FidelityLost(
            f"a map to the Gaussian has a cost of at least {floor:.4f} from these points (means and covariances "
            f"alone), and this one has {cost['cost']:.4f} +- {cost['cost_stderr']:.4f}: its image is not Gaussian. "
            "Train it with a smaller gp.logdet_tolerance; if its log-det error is small, the flow's image is the cause."
        )
    return cost | {"gelbrich": floor}


def _named_cost(name: str, x: Tensor, z: Tensor, cost: Cost = squared_euclidean) -> dict[str, float]:
    found = cost_summary(x, z, cost)
    return {name: found.mean, f"{name}_stderr": found.stderr}
