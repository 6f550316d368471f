"""Rules of what is built: points, flows, GP flows and penalties that go together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gpot.config.checks.subjects import Gps
from gpot.config.choices import Inverse, PenaltyKind, Source
from gpot.config.schema import (
    BNAFConfig,
    CostConfig,
    DatasetConfig,
    DeepRidgeConfig,
    FlowConfig,
    GpConfig,
    ImagesConfig,
    L1Cost,
    LpCost,
    MlpConfig,
    PenaltyConfig,
    SpectralConfig,
    TwistConfig,
    VaeConfig,
)
from gpot.errors import BadConfig
from gpot.maths.charts import Chart


def dimensions_agree(dataset: DatasetConfig, vae: VaeConfig | None) -> None:
    if dataset.dim < 2:
        raise BadConfig(
            f"a Gaussian-preserving flow needs dataset.dim of at least 2, got {dataset.dim}. "
            + ("Set vae.latent_dim to 2 or more: dataset.dim follows it." if vae else "Give 2 columns or more.")
        )
    if not isinstance(dataset, ImagesConfig):
        return
    if vae is None:
        raise BadConfig(
            f"the flow of dataset '{dataset.name}' sees codes of its images, and vae is null. Type vae=btcvae."
        )
    if dataset.dim != vae.latent_dim:
        raise BadConfig(
            f"the flow of dataset '{dataset.name}' sees the VAE's codes, so dataset.dim must equal "
            f"vae.latent_dim; got {dataset.dim} and {vae.latent_dim}. Set vae.latent_dim only: "
            "dataset.dim follows it."
        )


def families_fit(dataset: DatasetConfig, gps: Gps) -> None:
    dim = dataset.dim
    for name, gp in gps.items():
        if isinstance(gp.family, TwistConfig) and dim < 3:
            raise BadConfig(
                f"{name}=twist turns planes by angles that depend on other coordinates: it needs dataset.dim "
                f"of at least 3, got {dim}. Type gp=ridge or gp=toy_ridge."
            )
        if isinstance(gp.family, DeepRidgeConfig) and gp.chart is not Chart.direct:
            raise BadConfig(
                f"{name}={gp.name} has its field in the chart 'direct' alone: it needs {name}.chart=direct, got "
                f"{gp.chart.value}. Type {name}.chart=direct, or {name}=ridge."
            )
        if isinstance(gp.family, SpectralConfig):
            solves = f"{name}={gp.name} solves Euler's equations on the square: it needs"
            if dim != 2:
                raise BadConfig(
                    f"{solves} dataset.dim of 2, got {dim}. Take points of two columns, or type gp=mlp or gp=ridge."
                )
            if gp.chart is Chart.direct:
                raise BadConfig(f"{solves} {name}.chart=cube or gaussian, got direct. Type {name}.chart=gaussian.")


def penalty_has_a_path(runs: Mapping[str, tuple[GpConfig, PenaltyConfig]]) -> None:
    for name, (gp, penalty) in runs.items():
        if isinstance(gp.family, TwistConfig) and penalty.acting is not PenaltyKind.none:
            raise BadConfig(
                f"{name}gp=twist has no time, so no path that {name}penalty={penalty.name} could be of. "
                f"Type {'penalty=none' if not name else name + 'penalty.weight=0'}, or gp=ridge."
            )


def prior_samples_available(flow: FlowConfig, gps: Gps) -> None:
    if not isinstance(flow, BNAFConfig) or flow.inverse is not Inverse.none:
        return
    for name, gp in gps.items():
        if gp.source is Source.prior:
            raise BadConfig(
                f"{name}.source=prior pulls Gaussian samples back by the flow's inverse, and flow.inverse=none. "
                f"Type flow.inverse=bisection, or {name}.source=data."
            )


def blocks_fit(dataset: DatasetConfig, gps: Gps) -> None:
    dim = dataset.dim
    for name, gp in gps.items():
        blocks = gp.family.n_blocks if isinstance(gp.family, MlpConfig) else None
        if blocks is not None and not 1 <= blocks <= dim - 1:
            raise BadConfig(
                f"{name}.family.n_blocks must lie in 1..{dim - 1} for points of dimension {dim} (eq. 14), got "
                f"{blocks}. Set {name}.family.n_blocks=null for all of them."
            )


def penalty_consistent(penalties: Mapping[str, PenaltyConfig]) -> None:
    for name, penalty in penalties.items():
        if penalty.kind is PenaltyKind.none and penalty.weight != 0:
            raise BadConfig(
                f"{name}.kind=none and {name}.weight={penalty.weight} contradict each other: no penalty has no weight. "
                "Choose penalty=euler_toy, euler_latent or kinetic, and change the weight of that."
            )
        particles = 1 if penalty.particles is None else penalty.particles
        if not 0 <= penalty.weight < math.inf or penalty.halvings < 0 or penalty.probes < 1 or particles < 1:
            raise BadConfig(
                f"{name} needs weight >= 0, halvings >= 0, probes >= 1 and particles >= 1 or null; got "
                f"{penalty.weight}, {penalty.halvings}, {penalty.probes}, {penalty.particles}."
            )


def cost_defined(cost: CostConfig) -> None:
    if isinstance(cost, LpCost) and not 1 < cost.p < math.inf:
        raise BadConfig(
            f"cost=lp is strictly convex for a finite cost.p > 1, got {cost.p:g}. Set cost.p=1.5, or type cost=l1 for "
            "p = 1."
        )
    if isinstance(cost, L1Cost) and not 0 < cost.end <= cost.start < math.inf:
        raise BadConfig(
            f"the smoothing of cost=l1 falls from cost.start to cost.end > 0, got {cost.start:g} and {cost.end:g}. "
            "Set cost.start=0.5 cost.end=0.01."
        )
