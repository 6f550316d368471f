"""The families of flows and of GP flows, one record each: network, adapter, likelihood, and what keys need of it.

A new family is one config class (`gpot/config/schema/`), for a flow one adapter (`gpot/flows/`), and a record here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpot.config.choices import PenaltyKind, Solver, Source
from gpot.config.plain import adam_settings, plain, without
from gpot.config.schema import (
    BNAFConfig,
    CostConfig,
    CPFlowConfig,
    DeepRidgeConfig,
    EuclideanCost,
    FamilyConfig,
    FFJORDConfig,
    FlowConfig,
    GpConfig,
    MlpConfig,
    OptimizerConfig,
    PenaltyConfig,
    RidgeConfig,
    SpectralConfig,
    TwistConfig,
)
from gpot.flows.bnaf import BNAFFlow
from gpot.flows.cpflow import CPFlowFlow
from gpot.flows.ffjord import FFJORDFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.deep_ridge import DeepRidgeVelocity
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import Descent
from gpot.gp.spectral import SpectralVelocity
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.training.flow import LogLikelihood
from third_party.bnaf import BNAF
from third_party.cpflow import CPFlow
from third_party.ffjord import FFJORD


@dataclass(frozen=True)
class FlowFamily:
    """How the flows of one config class are built, trained and named in keys.

    network: (config, dimension, for training or not) -> fresh weights. adapter: the network as a flow of gpot.
    likelihood: how training sees the network. architecture: the fields that say its shape. evaluation: what the values
    of the frozen flow depend on besides its weights.
    """

    network: Callable[[Any, int, bool], nn.Module]
    adapter: Callable[[Any, Any], nn.Module]
    likelihood: Callable[[Any, Any], LogLikelihood]
    architecture: tuple[str, ...]
    evaluation: Callable[[Any], dict[str, Any]]


def _ffjord(flow: FFJORDConfig, dim: int, training: bool) -> nn.Module:
    solver = flow.training_solver if training else flow.solver
    n_steps = flow.training_steps if training else flow.solver_steps
    return FFJORD(
        dim, hidden=tuple(flow.hidden), n_blocks=flow.n_blocks, solver=solver.value,
        atol=flow.tolerance, rtol=flow.tolerance, n_steps=n_steps,
    )  # fmt: skip


def _ffjord_likelihood(flow: FFJORDConfig, net: Any) -> LogLikelihood:
    training = partial(net, divergence=flow.divergence.value)
    validated = partial(net, divergence="exact", n_steps=flow.validation_steps)
    return LogLikelihood(partial(_shifted, training) if flow.shifted_grid else training, validated)


def _shifted(training: Callable[..., tuple[Tensor, Tensor]], x: Tensor) -> tuple[Tensor, Tensor]:
    return training(x, phase=float(torch.rand(()).clamp(min=1e-3)))


def _ffjord_evaluation(flow: FFJORDConfig) -> dict[str, Any]:
    fixed = flow.solver is Solver.rk4
    return {"solver": flow.solver.value} | ({"steps": flow.solver_steps} if fixed else {"tolerance": flow.tolerance})


def _cpflow(flow: CPFlowConfig, dim: int, training: bool) -> nn.Module:
    return CPFlow(
        dim, width=flow.width, depth=flow.depth, n_blocks=flow.n_blocks,
        activation=flow.activation.value, actnorm=flow.actnorm.value,
    )  # fmt: skip


FLOWS: dict[type[FlowConfig], FlowFamily] = {
    FFJORDConfig: FlowFamily(
        network=_ffjord,
        adapter=lambda flow, trained: FFJORDFlow(trained),
        likelihood=_ffjord_likelihood,
        architecture=("name", "hidden", "n_blocks"),
        evaluation=_ffjord_evaluation,
    ),
    BNAFConfig: FlowFamily(
        network=lambda flow, dim, training: BNAF(dim, width=flow.width, n_layers=flow.n_layers, n_blocks=flow.n_blocks),
        adapter=lambda flow, trained: BNAFFlow(trained, inverse=flow.inverse.value, tolerance=flow.tolerance),
        likelihood=lambda flow, net: LogLikelihood(net, net),
        architecture=("name", "width", "n_layers", "n_blocks"),
        evaluation=lambda flow: {"inverse": flow.inverse.value, "tolerance": flow.tolerance},
    ),
    CPFlowConfig: FlowFamily(
        network=_cpflow,
        adapter=lambda flow, trained: CPFlowFlow(trained, tolerance=flow.tolerance),
        likelihood=lambda flow, net: LogLikelihood(
            partial(net, log_det=flow.training_log_det.value), partial(net, log_det="exact")
        ),
        architecture=("name", "width", "depth", "n_blocks", "activation", "actnorm"),
        evaluation=lambda flow: {"tolerance": flow.tolerance},
    ),
}


def network(flow: FlowConfig, dim: int, *, training: bool = False) -> nn.Module:
    """The network with fresh weights, set up for training or for the frozen flow."""
    return FLOWS[type(flow)].network(flow, dim, training)


def adapter(flow: FlowConfig, trained: Any) -> nn.Module:
    """The network as a flow of gpot (`gpot.flows.base.Flow`)."""
    return FLOWS[type(flow)].adapter(flow, trained)


def log_likelihood(flow: FlowConfig, net: Any) -> LogLikelihood:
    """How training sees the network."""
    return FLOWS[type(flow)].likelihood(flow, net)


def architecture(flow: FlowConfig) -> dict[str, Any]:
    """The shape of the network: with the weights of a file, all that the flow is."""
    return {name: plain(getattr(flow, name)) for name in FLOWS[type(flow)].architecture}


def evaluation_settings(flow: FlowConfig) -> dict[str, Any]:
    """What the values of the frozen flow depend on besides its weights, for keys."""
    return FLOWS[type(flow)].evaluation(flow)


def training_settings(flow: FlowConfig) -> dict[str, Any]:
    """What trained weights depend on: all but how the frozen flow is solved or inverted, which is chosen at its use."""
    # a finer validation and a shifted grid came later: where there is none, keys are as they were
    plainly = [name for name in ("validation_steps", "shifted_grid") if not getattr(flow, name, None)]
    return without(flow, "weights", "solver", "tolerance", "solver_steps", "inverse", *plainly)


@dataclass(frozen=True)
class GpFamily:
    """A family of GP flows. velocity: (family's config, dimension) -> fresh weights; None for a map without time, which
    `couplings` makes."""

    velocity: Callable[[Any, int], Velocity] | None = None
    couplings: Callable[[Any, int], GaussianPreserving] | None = None


GP_FAMILIES: dict[type[FamilyConfig], GpFamily] = {
    MlpConfig: GpFamily(lambda family, dim: MLPVelocity(dim, hidden=tuple(family.hidden), n_blocks=family.n_blocks)),
    RidgeConfig: GpFamily(lambda family, dim: RidgeVelocity(dim, width=family.width)),
    DeepRidgeConfig: GpFamily(lambda family, dim: DeepRidgeVelocity(dim, width=family.width, below=family.below)),
    SpectralConfig: GpFamily(lambda family, dim: SpectralVelocity(dim, modes=family.modes, n_steps=family.n_steps)),
    TwistConfig: GpFamily(couplings=lambda family, dim: TwistFlow(dim, n_layers=family.n_layers, width=family.width)),
}
_TIMED = ("chart", "method", "n_steps", "max_steps")  # how an ODE is integrated: nothing to a map without time


def gp_network(gp: GpConfig, dim: int) -> GaussianPreserving:
    """The GP flow with fresh weights and no rotation."""
    family = GP_FAMILIES[type(gp.family)]
    if family.velocity is not None:
        return GaussianPreservingFlow(family.velocity(gp.family, dim), gp.chart, gp.n_steps, gp.method)
    assert family.couplings is not None
    return family.couplings(gp.family, dim)


def gp_settings(gp: GpConfig) -> dict[str, Any]:
    """What a trained GP flow depends on, for keys: less its epochs, its own seed, its optimizer, and what made its
    pairs, which is in their key."""
    timed = GP_FAMILIES[type(gp.family)].velocity is not None
    epochs = ("epochs", "epochs_penalized", "epochs_twist")
    apart = ("name", "seed", "source", "n_train", "n_validation", "descent", "lr_factor", "control_variate", *epochs)
    kept = without(gp, *apart, "family", *(() if timed else _TIMED))
    return kept | {"velocity": gp.family.kind, gp.family.kind: plain(gp.family)}


def controlled(gp: GpConfig, cost: CostConfig) -> bool:
    """Whether a GP flow descends on its cost with a control variate: |x - s|^2 of prior samples has one."""
    return gp.control_variate and gp.source is Source.prior and isinstance(cost, EuclideanCost)


def gp_optimizer(gp: GpConfig, optimizer: OptimizerConfig) -> OptimizerConfig:
    """The optimizer of the run's GP flows as one of them uses it: at its own multiple of the learning rate."""
    return dataclasses.replace(optimizer, lr=optimizer.lr * gp.lr_factor)


def gp_optimizer_settings(gp: GpConfig, optimizer: OptimizerConfig) -> dict[str, Any]:
    """What a trained GP flow depends on of its optimizer, for keys: its descent only where it is not Adam's."""
    descent = {} if gp.descent is Descent.adam else {"descent": gp.descent.value}
    return adam_settings(gp_optimizer(gp, optimizer)) | descent


def n_epochs(gp: GpConfig, penalty: PenaltyConfig) -> int:
    """Epochs of a run: those with a penalty have another number (Table 4), couplings without an ODE have their own."""
    if isinstance(gp.family, TwistConfig):
        return gp.epochs_twist
    return gp.epochs if penalty.acting is PenaltyKind.none else gp.epochs_penalized


def sizes(flow: FlowConfig, gp: GpConfig, dim: int) -> dict[str, int]:
    """Entries `n_parameters_flow` and `n_parameters_gp` of a result, without a trained model."""
    networks = {"n_parameters_flow": network(flow, dim), "n_parameters_gp": gp_network(gp, dim)}
    return {name: sum(p.numel() for p in module.parameters()) for name, module in networks.items()}
