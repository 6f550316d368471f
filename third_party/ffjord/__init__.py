"""FFJORD: continuous normalizing flows with a free-form velocity. See README.md."""

from third_party.ffjord.model import CNF, DIVERGENCES, FFJORD, SOLVERS
from third_party.ffjord.network import ConcatSquash, ODENet

__all__ = ["CNF", "DIVERGENCES", "FFJORD", "SOLVERS", "ConcatSquash", "ODENet"]
