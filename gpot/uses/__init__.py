"""What a Monge map is good for: interpolation of laws and of points, ranks and quantiles, paths of maps."""

from gpot.uses.interpolation import displace, displaced_log_density, interpolate_points
from gpot.uses.paths import MapPath, law_preserving_path, map_path
from gpot.uses.ranks import (
    Calibrated,
    Coverage,
    calibrate,
    coverage,
    depth,
    inside,
    quantile_contour,
    radius,
    ranks,
    signs,
)

__all__ = [
    "Calibrated",
    "Coverage",
    "MapPath",
    "calibrate",
    "coverage",
    "depth",
    "displace",
    "displaced_log_density",
    "inside",
    "interpolate_points",
    "law_preserving_path",
    "map_path",
    "quantile_contour",
    "radius",
    "ranks",
    "signs",
]
