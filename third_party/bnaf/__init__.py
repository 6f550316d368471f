"""BNAF: block neural autoregressive flows, with an inverse. See README.md."""

from third_party.bnaf.inverse import Inversion
from third_party.bnaf.model import BNAF, Block, Flip, MaskedLinear

__all__ = ["BNAF", "Block", "Flip", "Inversion", "MaskedLinear"]
