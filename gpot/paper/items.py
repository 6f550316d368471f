"""The tables and figures of the paper: what each is called, what it shows, and the datasets that it is about."""

from __future__ import annotations

from enum import Enum


class Item(str, Enum):
    """A table or figure of the paper. Its value names files, experiments and make targets.

    label: as the paper refers to it. subject: what it shows. datasets: keys of `gpot.paper.names.DATASETS`.
    """

    label: str
    subject: str
    datasets: tuple[str, ...]

    def __new__(cls, key: str, label: str = "", subject: str = "", *datasets: str) -> Item:
        item = str.__new__(cls, key)
        item._value_ = key
        item.label, item.subject, item.datasets = label, subject, datasets
        return item

    table1 = "table1", "Table 1", "disentanglement, completeness and informativeness on dSprites", "dsprites"
    table2 = "table2", "Table 2", "losses and mean transport costs", "dsprites", "mnist"
    table3 = "table3", "Table 3", "training of the GP flows on 2-D data", "eight_gaussians", "two_moons"
    table4 = "table4", "Table 4", "training of the GP flows on latent codes", "dsprites", "mnist"
    fig1 = "fig1", "Figure 1", "a GP map moves Gaussian particles", "eight_gaussians"
    fig2 = "fig2", "Figure 2", "eight Gaussians, coloured by their place", "eight_gaussians"
    fig3 = "fig3", "Figure 3", "eight Gaussians", "eight_gaussians"
    fig4 = "fig4", "Figure 4", "two moons, with and without Euler's penalty", "two_moons"
    fig5 = "fig5", "Figure 5", "dSprites along the axes of code spaces", "dsprites"
    fig6 = "fig6", "Figure 6", "dSprites along the axes of code spaces, with Euler's penalty", "dsprites"
    fig7 = "fig7", "Figure 7", "MNIST along the axes of code spaces", "mnist"
    fig8 = "fig8", "Figure 8", "MNIST along the axes of code spaces, with Euler's penalty", "mnist"

    def __str__(self) -> str:
        return str(self.value)

    @property
    def heading(self) -> str:
        """`Table 2: losses and mean transport costs`."""
        return f"{self.label}: {self.subject}"

    @property
    def traversal(self) -> bool:
        """Whether the item shows images along the axes of code spaces."""
        return self in (Item.fig5, Item.fig6, Item.fig7, Item.fig8)

    @property
    def planar(self) -> bool:
        """Whether the item shows points of the plane."""
        return self in (Item.fig1, Item.fig2, Item.fig3, Item.fig4)

    @property
    def settings(self) -> bool:
        """Whether the item is about how GP flows are trained, not about what they reach."""
        return self in (Item.table3, Item.table4)

    @property
    def repeated(self) -> bool:
        """Whether the rows of GP flows are means over seeds."""
        return self in (Item.table1, Item.table2, Item.fig3, Item.fig4)

    @classmethod
    def of(cls, key: object) -> Item | None:
        """The item of a key, None where the paper has no such item."""
        return next((item for item in cls if item.value == key), None)
