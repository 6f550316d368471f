"""Frozen flows f: x -> z: the protocol, adapters over third_party and over other libraries, and their weights."""

from typing import TYPE_CHECKING

from gpot.lazy import names_on_demand

if TYPE_CHECKING:
    from gpot.flows.adapters import adapt
    from gpot.flows.base import Flow, FrozenFlow, pull_back
    from gpot.flows.bnaf import BNAFFlow
    from gpot.flows.cpflow import CPFlowFlow
    from gpot.flows.ffjord import FFJORDFlow
    from gpot.flows.handshake import Handshake
    from gpot.flows.weights import load_released

__all__ = [
    "BNAFFlow",
    "CPFlowFlow",
    "FFJORDFlow",
    "Flow",
    "FrozenFlow",
    "Handshake",
    "adapt",
    "load_released",
    "pull_back",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "BNAFFlow": "gpot.flows.bnaf",
        "CPFlowFlow": "gpot.flows.cpflow",
        "FFJORDFlow": "gpot.flows.ffjord",
        "Flow": "gpot.flows.base",
        "FrozenFlow": "gpot.flows.base",
        "Handshake": "gpot.flows.handshake",
        "adapt": "gpot.flows.adapters",
        "load_released": "gpot.flows.weights",
        "pull_back": "gpot.flows.base",
    },
)
