"""Frozen flows f: x -> z: the protocol, adapters over third_party, and the loading of their weights."""

from gpot.flows.base import Flow, FrozenFlow
from gpot.flows.bnaf import BNAFFlow
from gpot.flows.cpflow import CPFlowFlow
from gpot.flows.ffjord import FFJORDFlow, pull_back
from gpot.flows.weights import load_released

__all__ = ["BNAFFlow", "CPFlowFlow", "FFJORDFlow", "Flow", "FrozenFlow", "load_released", "pull_back"]
