"""The families of flows: for each kind of flow config its network, adapter, likelihood, and what keys need of it.

A new family is one config class (`gpot/config/schema.py`), one adapter (`gpot/flows/`), and an entry in each function.
"""

from __future__ import annotations

from functools import partial, singledispatch
from typing import Any

from torch import Tensor, nn

from gpot.config.choices import Solver
from gpot.config.schema import BNAFConfig, CPFlowConfig, FFJORDConfig, FlowConfig
from gpot.flows.bnaf import BNAFFlow
from gpot.flows.cpflow import CPFlowFlow
from gpot.flows.ffjord import FFJORDFlow
from gpot.stages.plain import plain, without
from gpot.training.flow import LogLikelihood
from third_party.bnaf import BNAF
from third_party.cpflow import CPFlow
from third_party.ffjord import FFJORD

_USED_LATER = ("weights", "solver", "tolerance", "solver_steps", "inverse")


def training_settings(flow: FlowConfig) -> dict[str, Any]:
    """What trained weights depend on: all but how the frozen flow is solved or inverted, which is chosen at its use."""
    # a finer validation came later: where there is none, keys are as they were
    plainly = ("validation_steps",) if getattr(flow, "validation_steps", None) is None else ()
    return without(flow, *_USED_LATER, *plainly)


@singledispatch
def network(flow: FlowConfig, dim: int, *, training: bool = False) -> nn.Module:
    """The network with fresh weights, set up for training or for the frozen flow."""
    raise NotImplementedError(type(flow))


@singledispatch
def adapter(flow: FlowConfig, trained: Any) -> nn.Module:
    """The network as a flow of gpot (`gpot.flows.base.Flow`)."""
    raise NotImplementedError(type(flow))


@singledispatch
def architecture(flow: FlowConfig) -> dict[str, Any]:
    """The shape of the network: with the weights of a file, all that the flow is."""
    raise NotImplementedError(type(flow))


@singledispatch
def evaluation_settings(flow: FlowConfig) -> dict[str, Any]:
    """What the values of the frozen flow depend on besides its weights, for keys."""
    raise NotImplementedError(type(flow))


@singledispatch
def log_likelihood(flow: FlowConfig, net: Any) -> LogLikelihood:
    """How training sees the network."""
    raise NotImplementedError(type(flow))


@network.register
def _(flow: FFJORDConfig, dim: int, *, training: bool = False) -> nn.Module:
    solver = flow.training_solver if training else flow.solver
    n_steps = flow.training_steps if training else flow.solver_steps
    return FFJORD(
        dim, hidden=tuple(flow.hidden), n_blocks=flow.n_blocks, solver=solver.value,
        atol=flow.tolerance, rtol=flow.tolerance, n_steps=n_steps,
    )  # fmt: skip


@adapter.register
def _(flow: FFJORDConfig, trained: Any) -> nn.Module:
    return FFJORDFlow(trained)


@architecture.register
def _(flow: FFJORDConfig) -> dict[str, Any]:
    return {"name": flow.name, "hidden": flow.hidden, "n_blocks": flow.n_blocks}


@evaluation_settings.register
def _(flow: FFJORDConfig) -> dict[str, Any]:
    if flow.solver is Solver.rk4:
        return {"solver": flow.solver.value, "steps": flow.solver_steps}
    return {"solver": flow.solver.value, "tolerance": flow.tolerance}


@log_likelihood.register
def _(flow: FFJORDConfig, net: Any) -> LogLikelihood:
    def validated(x: Tensor) -> tuple[Tensor, Tensor]:
        steps, net.n_steps = net.n_steps, flow.validation_steps or net.n_steps
        try:
            return net(x, divergence="exact")
        finally:
            net.n_steps = steps

    return LogLikelihood(partial(net, divergence=flow.divergence.value), validated)


@network.register
def _(flow: BNAFConfig, dim: int, *, training: bool = False) -> nn.Module:
    return BNAF(dim, width=flow.width, n_layers=flow.n_layers, n_blocks=flow.n_blocks)


@adapter.register
def _(flow: BNAFConfig, trained: Any) -> nn.Module:
    return BNAFFlow(trained, inverse=flow.inverse.value, tolerance=flow.tolerance)


@architecture.register
def _(flow: BNAFConfig) -> dict[str, Any]:
    return {"name": flow.name, "width": flow.width, "n_layers": flow.n_layers, "n_blocks": flow.n_blocks}


@evaluation_settings.register
def _(flow: BNAFConfig) -> dict[str, Any]:
    return {"inverse": flow.inverse.value, "tolerance": flow.tolerance}


@log_likelihood.register
def _(flow: BNAFConfig, net: Any) -> LogLikelihood:
    return LogLikelihood(net, net)


@network.register
def _(flow: CPFlowConfig, dim: int, *, training: bool = False) -> nn.Module:
    return CPFlow(
        dim, width=flow.width, depth=flow.depth, n_blocks=flow.n_blocks,
        activation=flow.activation.value, actnorm=flow.actnorm.value,
    )  # fmt: skip


@adapter.register
def _(flow: CPFlowConfig, trained: Any) -> nn.Module:
    return CPFlowFlow(trained, tolerance=flow.tolerance)


@architecture.register
def _(flow: CPFlowConfig) -> dict[str, Any]:
    kept = ("name", "width", "depth", "n_blocks", "activation", "actnorm")
    return {name: plain(getattr(flow, name)) for name in kept}


@evaluation_settings.register
def _(flow: CPFlowConfig) -> dict[str, Any]:
    return {"tolerance": flow.tolerance}


@log_likelihood.register
def _(flow: CPFlowConfig, net: Any) -> LogLikelihood:
    return LogLikelihood(partial(net, log_det=flow.training_log_det.value), partial(net, log_det="exact"))
