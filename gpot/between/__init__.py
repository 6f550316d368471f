"""Monge maps between the laws of two flows, T = g^-1 o s o f: densities of both kept."""

from gpot.between.fit import monge_between
from gpot.between.maps import MongeBetween
from gpot.between.measure import measured
from gpot.between.report import BetweenReport

__all__ = ["BetweenReport", "MongeBetween", "measured", "monge_between"]
