"""The numbers that the paper prints (hal-03782622 v4): Tables 1 to 4, Figures 3 and 4; written here and nowhere else.

A number is kept as the text that is printed, so that its precision is known: 15.4K is 15,400 to the nearest hundred.
`nll_analytic` is the paper's 'loss', since it takes the analytic log-determinant of the GP map. Table 1 prints scores
with the shape factor included, although the text beside it says that shape is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gpot.errors import BadInput
from gpot.paper.items import Item
from gpot.paper.names import SCORES
from gpot.paper.rows import base_row

FLOW_OF = {"dsprites": "ffjord", "mnist": "ffjord", "eight_gaussians": "bnaf", "two_moons": "bnaf"}


@dataclass(frozen=True)
class Printed:
    """One printed number: where it stands, which row and metric it is about, and its text."""

    item: str
    dataset: str
    row: str
    metric: str
    text: str
    note: str = ""

    @property
    def value(self) -> float:
        """The number. K stands for a thousand."""
        return float(self._decimal)

    @property
    def resolution(self) -> float:
        """One unit of the last printed digit: 0.01 of `0.58`, 100 of `15.4K`."""
        thousands = 3 if self.text.endswith("K") else 0
        exponent = Decimal(self.text.rstrip("K")).as_tuple().exponent
        assert isinstance(exponent, int), self.text
        return float(Decimal(1).scaleb(exponent + thousands))

    def agrees(self, value: float) -> bool:
        """Whether `value`, rounded to the printed digits, is the printed number."""
        return abs(value - self.value) <= self.resolution * (0.5 + 1e-9)

    @property
    def _decimal(self) -> Decimal:
        return Decimal(self.text.rstrip("K")) * (1000 if self.text.endswith("K") else 1)


_Table = Mapping[str, Mapping[str, tuple[str, ...]]]  # dataset -> row -> texts

_TABLE_1 = {
    "latent": ("0.58", "0.81", "0.55"),
    "flow": ("0.39", "0.26", "0.62"),
    "flow+gp": ("0.59", "0.68", "0.61"),
    "flow+gp+euler": ("0.59", "0.67", "0.59"),
}

_TABLE_2 = {  # cost and loss
    "dsprites": {
        "flow": ("10.45", "-17.52"),
        "flow+gp": ("5.60", "-17.52"),
        "flow+gp+euler": ("5.26", "-17.52"),
    },
    "mnist": {
        "flow": ("6.81", "-0.45"),
        "flow+gp": ("3.17", "-0.45"),
        "flow+gp+euler": ("3.20", "-0.45"),
    },
}

_TABLE_3 = {  # parameters of the flow and of the GP flow, epochs, time steps ('nb layers'), batch size, learning rate
    "eight_gaussians": {"flow+gp": ("15.4K", "332", "2000", "20", "1000", "1e-2")},
    "two_moons": {"flow+gp": ("15.4K", "332", "1000", "15", "1000", "5e-3")},
}
_TABLE_3_METRICS = ("n_parameters_flow", "n_parameters_gp", "epochs", "n_steps", "batch_size", "lr")

_TABLE_4 = {  # parameters of the flow and of the GP flow, epochs, batch size, learning rate
    "dsprites": {
        "flow+gp": ("17.8K", "10.3K", "200", "1024", "5e-4"),
        "flow+gp+euler": ("17.8K", "10.3K", "2000", "1024", "5e-4"),
    },
    "mnist": {
        "flow+gp": ("36.9K", "12.8K", "1000", "1024", "5e-4"),
        "flow+gp+euler": ("36.9K", "12.8K", "1000", "1024", "5e-4"),
    },
}
_TABLE_4_METRICS = ("n_parameters_flow", "n_parameters_gp", "epochs", "batch_size", "lr")
_NOTES = {("table4", "dsprites", "flow+gp", "epochs"): "about; stopped early because particles left the domain"}

_FIGURE_3 = {"cpflow": ("2.62", "2.86"), "flow": ("2.88", "2.85"), "flow+gp": ("2.60", "2.85")}  # cost and loss

_FIGURE_4: Mapping[str, tuple[str, ...]] = {  # cost and energy
    "flow": ("1.35",),
    "flow+gp": ("1.05", "0.28"),
    "flow+gp+euler": ("1.04", "0.09"),
    "flow+gp+spectral": ("1.06", "0.08"),
}


def _read(item: str, metrics: tuple[str, ...], table: _Table) -> tuple[Printed, ...]:
    return tuple(
        Printed(item, dataset, row, metric, text, _NOTES.get((item, dataset, row, metric), ""))
        for dataset, rows in table.items()
        for row, texts in rows.items()
        for metric, text in zip(metrics, texts, strict=False)  # Figure 4 gives the flow no energy
    )


PRINTED: tuple[Printed, ...] = (
    *_read("table1", SCORES, {"dsprites": _TABLE_1}),
    *_read("table2", ("cost", "nll_analytic"), _TABLE_2),
    *_read("table3", _TABLE_3_METRICS, _TABLE_3),
    *_read("table4", _TABLE_4_METRICS, _TABLE_4),
    *_read("fig3", ("cost", "nll_analytic"), {"eight_gaussians": _FIGURE_3}),
    *_read("fig4", ("cost", "energy"), {"two_moons": _FIGURE_4}),
)


def printed(item: str, row: str, metric: str, dataset: str | None = None) -> Printed | None:
    """One printed number, None where the paper has none.

    Arguments:
        item: key of an `Item`.
        row: key of a row; a variant counts as its base row.
        dataset: needed only where the item is about several.
    Raises: BadInput for an unknown item or row, or a dataset that the item is not about.
    """
    of_paper = Item.of(item)
    if of_paper is None:
        raise BadInput(f"The paper's items are {', '.join(Item)}; got '{item}'.")
    datasets = of_paper.datasets
    if dataset is None and len(datasets) == 1:
        dataset = datasets[0]
    if dataset not in datasets:
        raise BadInput(
            f"{of_paper.label} is about {' and '.join(datasets)}; got dataset={dataset!r}. Name one of them."
        )
    place = (item, dataset, base_row(row), metric)
    return next((p for p in PRINTED if (p.item, p.dataset, p.row, p.metric) == place), None)


def paper_numbers(dataset: str, row: str, flow: str | None = None, protocol: str = "with_shape") -> dict[str, float]:
    """Everything the paper prints about a row on a dataset: metric key -> number, the `paper` entry of a result's row.

    Arguments:
        row: a variant counts as its base row.
        flow: ours; where it is not the paper's flow on that dataset, rows built on the flow have no counterpart and the
            answer is empty.
        protocol: of the scores; only with_shape is printed.
    """
    base = base_row(row)
    if base.startswith("flow") and flow is not None and flow != FLOW_OF.get(dataset):
        return {}
    return {
        p.metric: p.value
        for p in PRINTED
        if p.dataset == dataset and p.row == base and (p.metric not in SCORES or protocol == "with_shape")
    }
