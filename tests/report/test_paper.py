"""The paper's printed numbers: complete, unambiguous, precise to their last digit; names for all of them."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from gpot.errors import BadInput
from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import FLOW_OF, PRINTED, Printed, paper_numbers, printed
from gpot.paper.rows import ROWS, row_name


def test_every_item_is_there_in_full() -> None:
    assert Counter(p.item for p in PRINTED) == {
        "table1": 4 * 3,
        "table2": 2 * 3 * 2,
        "table3": 2 * 6,
        "table4": 4 * 5,
        "fig3": 3 * 2,
        "fig4": 1 + 3 * 2,
    }


def test_every_number_has_a_known_place_and_is_printed_once() -> None:
    for p in PRINTED:
        assert p.dataset in Item(p.item).datasets and p.dataset in FLOW_OF and p.dataset in names.DATASETS
        assert p.row in ROWS
        assert p.metric in names.METRICS
    places = Counter((p.dataset, p.row, p.metric) for p in PRINTED)
    assert max(places.values()) == 1  # so that a dataset, a row and a metric name one number


def test_losses_do_not_change_with_the_gp_flow() -> None:
    for item, dataset in (("table2", "dsprites"), ("table2", "mnist"), ("fig3", "eight_gaussians")):
        flow, gp = (printed(item, row, "nll_analytic", dataset) for row in ("flow", "flow+gp"))
        assert flow is not None and gp is not None and flow.value == gp.value


@pytest.mark.parametrize(
    ("text", "value", "resolution"),
    [("0.58", 0.58, 0.01), ("-17.52", -17.52, 0.01), ("15.4K", 15_400, 100), ("332", 332, 1), ("5e-4", 5e-4, 1e-4)],
)
def test_printed_text_carries_its_precision(text: str, value: float, resolution: float) -> None:
    number = Printed("table1", "dsprites", "latent", "completeness", text)
    assert number.value == value and number.resolution == resolution
    assert number.agrees(value + 0.49 * resolution) and number.agrees(value - 0.49 * resolution)
    assert not number.agrees(value + 0.51 * resolution) and not number.agrees(value - 0.51 * resolution)


def test_known_sizes_agree_with_the_tables() -> None:
    """Counted by hand: weights and biases of the networks that the experiments use."""

    def mlp(*widths: int) -> int:
        return sum((m + 1) * n for m, n in itertools.pairwise(widths))

    for dataset, size in (("eight_gaussians", mlp(3, 15, 15, 2)), ("two_moons", mlp(3, 15, 15, 2))):
        number = printed("table3", "flow+gp", "n_parameters_gp", dataset)
        assert number is not None and number.agrees(size) and size == 332
    for dataset, size in (("dsprites", mlp(11, 50, 50, 50, 90)), ("mnist", mlp(11, 50, 50, 50, 50, 90))):
        for row in ("flow+gp", "flow+gp+euler"):
            number = printed("table4", row, "n_parameters_gp", dataset)
            assert number is not None and number.agrees(size)


def test_look_up_of_one_number() -> None:
    number = printed("fig4", "flow+gp:ridge", "energy")
    assert number is not None and number.text == "0.28"
    assert printed("fig4", "flow", "energy") is None  # not printed
    early = printed("table4", "flow+gp", "epochs", "dsprites")
    assert early is not None and "stopped early" in early.note
    with pytest.raises(BadInput, match=r"table1, table2.*got 'table9'"):
        printed("table9", "flow", "cost")
    with pytest.raises(BadInput, match="Table 2 is about dsprites and mnist; got dataset=None"):
        printed("table2", "flow", "cost")
    with pytest.raises(BadInput, match=r"row must be one of latent, flow.*got 'flow\+pg'"):
        printed("table1", "flow+pg", "completeness")


def test_numbers_beside_a_row() -> None:
    row = paper_numbers("dsprites", "flow+gp+euler:twist", flow="ffjord")
    assert {key: row[key] for key in ("disentanglement", "cost", "nll_analytic", "epochs")} == {
        "disentanglement": 0.59,
        "cost": 5.26,
        "nll_analytic": -17.52,
        "epochs": 2000,
    }
    assert not set(names.SCORES) & set(paper_numbers("dsprites", "flow", protocol="continuous"))
    assert paper_numbers("dsprites", "flow", flow="bnaf") == {}  # the paper has no BNAF on dSprites
    assert set(paper_numbers("dsprites", "latent", flow="bnaf")) == set(names.SCORES)  # but the codes are the same
    assert paper_numbers("eight_gaussians", "cpflow", flow="bnaf") == {"cost": 2.62, "nll_analytic": 2.86}
    assert paper_numbers("pinwheel", "flow") == {}
    assert paper_numbers("two_moons", "flow+rotation") == {}


def test_row_names() -> None:
    assert row_name("flow+gp+euler", "ffjord") == "FFJORD+GP+Euler"
    assert row_name("flow+gp+spectral", "bnaf") == "BNAF+GP+spectral"
    assert row_name("flow+gp:ridge", "my_flow") == "my_flow+GP (ridge)"
    assert row_name("cpflow", "bnaf") == "CP-Flow"
    assert len({row_name(row, "ffjord") for row in ROWS}) == len(ROWS)
    with pytest.raises(BadInput, match="one of latent"):
        row_name("gp")


def test_metric_texts() -> None:
    assert names.metric("cost").text(5.36149, 0.0123) == "5.361 ± 0.012"
    assert names.metric("cost").text(None, 0.1) == "–"
    assert names.metric("cost").difference_text(5.0, 5.26) == "-0.260"
    assert names.metric("cost").difference_text(5.0, None) == "–"
    assert names.metric("cost").paper_text(5.6) == "5.60"
    assert names.metric("escaped").text(3.0) == "3"
    assert names.metric("certificate").text(0.01234, 0.001) == "1.23% ± 0.10%"
    assert names.metric("n_parameters_gp").paper_text(10_300.0) == "10,300"
    assert names.metric("nll_exact").heading == "NLL, exact (nats)"
    assert names.metric("informativeness").heading == "Informativeness ↓"
    assert names.metric("completeness").heading == "Completeness ↑"
    shown = names.SCORES + names.MORE_SCORES + names.EVALUATED + names.SETTINGS + names.TRAVERSALS
    assert set(shown) == set(names.METRICS)
    with pytest.raises(BadInput, match=r"'loss'.*cost"):
        names.metric("loss")
