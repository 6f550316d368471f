"""The stages of one config, wired: which reads the results of which.

vae -> points (codes, of images) -> flow -> pairs -> gp -> a row's evaluation, bounds and traversals
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

from gpot.config.choices import Source
from gpot.config.schema import Config, DSpritesConfig, ImagesConfig
from gpot.paper.rows import Row
from gpot.stages.bounds import bounds_stage, conjugates_stage, potential_stage
from gpot.stages.costs import needs_pairs
from gpot.stages.evaluate import evaluate_stage
from gpot.stages.flow import flow_stage, pairs_stage
from gpot.stages.gp import gp_stage, log_det_errors_stage
from gpot.stages.held_out import held_out_stage, labelled_stage, rows_read
from gpot.stages.maps import RowParts
from gpot.stages.optimum import optimum_stage
from gpot.stages.points import n_points, points_stage
from gpot.stages.rotation import rotation_stage
from gpot.stages.stage import Stage
from gpot.stages.traversals import traversals_stage
from gpot.stages.vae import codes_stage, images_of, latents_stage, vae_stage


@dataclass(frozen=True)
class Pipeline:
    """The stages of a config, each made when it is asked for, once; nothing is read or trained by asking.

    guide: the config of the GP flow whose pairs the potential is fitted on; None: it is fitted on those of the best
    rotation.
    """

    config: Config
    guide: Config | None = None

    @cached_property
    def vae(self) -> Stage:
        """The autoencoder of a dataset of images."""
        return vae_stage(self.config)

    @cached_property
    def points(self) -> Stage:
        """What the flow sees: codes of images, else points."""
        if isinstance(self.config.dataset, ImagesConfig):
            return latents_stage(self.config, self.vae)
        return points_stage(self.config)

    @cached_property
    def codes(self) -> tuple[Stage, ...]:
        """Of a dataset of images, the codes that rows are measured on, where those of all images are not there."""
        rows = rows_read(images_of(self.config).dataset, self.config.gp, self.config.evaluate, n_points(self.points))
        return tuple(codes_stage(self.points, some) for some in rows)

    @cached_property
    def flow(self) -> Stage:
        """The frozen flow."""
        return flow_stage(self.config, () if self.config.flow.weights is not None else (self.points,))

    @cached_property
    def pairs(self) -> Stage:
        """What GP flows learn from."""
        return pairs_stage(self.config, (self.flow, *self._law))

    @cached_property
    def rotation(self) -> Stage:
        """The best rotation alone."""
        return rotation_stage(self.pairs)

    @cached_property
    def gp(self) -> Stage:
        """The GP flow."""
        return gp_stage(self.config, self.pairs, partial(getattr, self, "points"))

    @cached_property
    def log_det_errors(self) -> Stage:
        """How well the GP flow keeps the Gaussian."""
        return log_det_errors_stage(self.config, self.gp)

    @cached_property
    def potential(self) -> Stage:
        """The potential that bounds the cost of every row after the flow."""
        guide = None if self.guide is None else Pipeline(self.guide).gp
        return potential_stage(self.config, (self.flow, *self._law), guide)

    @cached_property
    def conjugates(self) -> Stage:
        """What the bounds of all these rows share."""
        return conjugates_stage((self.held_out, self.potential))

    @cached_property
    def optimum(self) -> Stage:
        """Exact discrete optimal transport of the data."""
        return optimum_stage(self.config, (self.points, self.flow, *self._metric))

    @cached_property
    def held_out(self) -> Stage:
        """What the flow makes of the points on which every row after it is measured."""
        return held_out_stage(self.config, self.points, self.flow)

    @cached_property
    def labelled(self) -> Stage:
        """What the flow makes of the codes that rows are scored on."""
        return labelled_stage(self.points, self.flow)

    def row(self, row: Row) -> RowParts:
        """What a row is made of: the points or codes first, then flow, rotation or GP flow."""
        stages = [self.points]
        if row is not Row.latent:
            stages.append(self.flow)
        if row is Row.rotation:
            stages.append(self.rotation)
        if row.moves:
            stages.append(self.gp)
        return RowParts.of(row, tuple(stages), self.config.flow, self.config.gp)

    def evaluation(self, row: Row) -> Stage:
        """What a table says of a row."""
        parts = self.row(row)
        if row is not Row.latent:
            scored = (self.labelled,) if isinstance(self.config.dataset, DSpritesConfig) else ()
            parts = replace(parts, stages=(*parts.stages, self.held_out, *scored, *self._metric))
        return evaluate_stage(self.config, parts)

    def traversals(self, row: Row) -> Stage:
        """Images along the axes of a row's codes."""
        parts = self.row(row)
        return traversals_stage(self.config, parts, self.vae)

    def bounds(self, row: Row) -> Stage:
        """Between which numbers the optimum lies that a row's cost is held against."""
        inputs = (self.held_out, self.potential, self.conjugates, self.evaluation(row))
        return bounds_stage(row, inputs)

    @property
    def _law(self) -> tuple[Stage, ...]:
        """The points, where what is learned and measured is of data and not of samples of the flow."""
        return (self.points,) if self.config.gp.source is Source.data else ()

    @property
    def _metric(self) -> tuple[Stage, ...]:
        """The pairs, where the cost takes its metric from them."""
        return (self.pairs,) if needs_pairs(self.config.cost) else ()
