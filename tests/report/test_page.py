"""The report page as text: well formed, whole in itself, nothing missing, numbers where they belong."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpot.errors import BadInput
from gpot.paper.items import Item
from gpot.paper.printed import PRINTED
from gpot.report.grids import grids
from gpot.report.page.arrays import data_uri, embed_pictures, pack, unpack
from gpot.report.page.captions import words
from gpot.report.page.items import Origin, item_view, missing_item, turn
from gpot.report.page.numbers import duration, minus, percent
from gpot.report.page.render import MOST_BYTES, Page, render
from gpot.report.page.svg import curves, histogram
from gpot.report.page.traversals import read_traversals, traversal_data
from tests.report.page_fixture import N, T, page, plane, table1, traversals

VOID = {"meta", "link", "img", "input", "br", "hr", "path", "rect"}


class Reader(HTMLParser):
    """Collects elements, and complains of one that is closed by another's end tag or not at all."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render(page())


@pytest.fixture(scope="module")
def found(text: str) -> Reader:
    return Reader(text)


def test_the_page_is_well_formed(text: str, found: Reader) -> None:
    assert text.startswith("<!doctype html>") and found.all("html")[0]["lang"] == "en"
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert len(ids) == len(set(ids)), "an id is used twice"
    for name in ("aria-labelledby", "aria-describedby", "for"):
        assert {a[name] for _, a in found.elements if name in a} <= set(ids)
    assert {str(a["href"])[1:] for a in found.all("a") if str(a.get("href")).startswith("#")} <= set(ids)
    headings = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1 and all(after - before <= 1 for before, after in zip(headings, headings[1:]))  # noqa: B905, RUF007


def test_nothing_is_fetched(text: str, found: Reader) -> None:
    for tag, attributes in found.elements:
        for name in ("src", "srcset", "data", "poster", "action", "formaction"):
            assert str(attributes.get(name, "data:")).startswith("data:"), (tag, attributes)
    assert [a["href"] for a in found.all("link")] == ["data:,"]
    outside = {str(a["href"]) for a in found.all("a") if "://" in str(a["href"])}
    assert outside == {"https://hal.science/hal-03782622"}, "links in the text alone leave the page"
    without = re.sub(r'href="https://hal[^"]*"', "", text)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|url\(|@import|fetch\(|XMLHttpRequest|importScripts", without)
    (policy,) = [a["content"] for a in found.all("meta") if a.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'")


def test_pictures_and_charts_have_words(found: Reader) -> None:
    images = [a for a in found.all("img") if a.get("src")]
    assert images and all(a["alt"] and len(a["alt"]) > 30 and a["width"] and a["height"] for a in images)
    assert all(a.get("aria-label") for a in found.all("svg")) and len(found.all("svg")) == 2
    assert all(a.get("aria-label") for a in found.all("canvas"))
    assert all(a.get("tabindex") == "0" for _, a in found.elements if a.get("class") == "scroll"), "arrows scroll them"


def test_every_item_of_the_paper_is_there_or_says_how_to_make_it(text: str, found: Reader) -> None:
    articles = {a["id"]: a["class"] for a in found.all("article")}
    assert list(articles) == [item.value for item in Item]
    for key in map(str, Item):
        missing = f"not made yet: <code>make reproduce-{key}</code>"
        assert text.count(missing) == (0 if key == "table1" else 2), "once in the overview, once in its place"
        assert ("absent" in str(articles[key])) == (key != "table1")


def test_a_page_of_nothing_is_a_page() -> None:
    text = render(Page([missing_item(item) for item in Item]))
    found = Reader(text)
    ids = {a.get("id") for _, a in found.elements}
    assert "flow" not in ids and "traversals" not in ids, "views without data are not shown"
    assert {str(a["href"])[1:] for a in found.all("a") if str(a["href"]).startswith("#")} <= ids
    assert len(text) < 60_000


def test_what_a_result_says_is_text_and_not_markup(text: str) -> None:
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert text.count("<script") == 2


def test_printed_numbers_stand_beside_ours() -> None:
    view = item_view(table1(), Origin(929.0, 9))
    assert [model.name for model in view.models] == [
        "Initial latent space", "FFJORD", "FFJORD+GP", "FFJORD+GP+Euler"
    ]  # fmt: skip
    assert len(view.lines) == view.n_printed == sum(p.item == "table1" for p in PRINTED) == 12
    line = view.models[1].lines[1]
    assert (line.quantity, line.paper, line.here, line.difference, line.off) == (
        "Completeness", "0.26", "0.444", "+0.184", "+71%"
    )  # fmt: skip
    agreeing = view.models[3].lines
    assert [entry.agrees for entry in agreeing] == [True, True, True] and agreeing[2].off == "0"
    assert view.summary == "3 of 12" and view.time == "15.5 min"
    # |0.77/0.58 - 1|, ... sorted, the mean of the two in the middle
    ours = [line.relative for line in view.lines if line.relative is not None]
    assert view.median_off == percent(float(np.median(np.abs(ours))), sign=False)
    facts = {fact.term: fact.text for fact in view.facts}
    assert facts["Command"] == "make reproduce-table1 BUDGET=quick" and facts["Commit"] == "0123456789ab-dirty"
    assert facts["Seed"] == "1234" and facts["Time of this call"] == "12.5 min" and facts["Budget"] == "quick"
    assert facts["Hardware"] == "cpu, 2 threads"


def test_a_row_of_another_flow_has_no_counterpart() -> None:
    result = table1()
    result["rows"] = [{**row, "paper": {}} for row in result["rows"] if row["row"] != "flow+gp"]
    view = item_view(result)
    assert {line.here for line in view.lines} == {"–"} and view.summary == "0 of 12"
    assert view.median_off == view.time == "–" and len(view.models) == 4


def test_a_mean_over_seeds_says_its_spread_and_the_distance_in_spreads() -> None:
    result = table1()
    for row in result["rows"]:
        if row["row"] == "flow+gp":
            row |= {"completeness_spread": 0.049, "seeds": [1, 2, 3]}
    view = item_view(result)
    line = view.models[2].lines[1]
    assert (line.here, line.spread, line.paper, line.in_spreads) == ("0.925", "0.049", "0.68", "+5.0")
    assert view.models[1].lines[1].spread == view.models[1].lines[1].in_spreads == ""
    assert {fact.term: fact.text for fact in view.facts}["Seeds of the GP flows"] == "1, 2, 3"
    text = render(Page([view]))
    assert "+5.0 spreads" in text and text.count("spread 0.049") == 3, "compared once, measured for two protocols"


def test_settings_are_compared_for_every_variant() -> None:
    row = {"row": "flow+gp", "dataset": "two_moons", "flow": "bnaf", "epochs": 25, "n_parameters_gp": 332,
           "paper": {"epochs": 1000.0, "n_parameters_gp": 332.0}}  # fmt: skip
    result = {"item": "table3", "rows": [row, {**row, "row": "flow+gp:paper budget", "epochs": 1000}]}
    names = [(model.name, model.dataset) for model in item_view(result).models]
    assert names == [
        ("BNAF+GP", "eight Gaussians"), ("BNAF+GP", "two moons"), ("BNAF+GP (paper budget)", "two moons")
    ]  # fmt: skip
    assert [model.lines[2].agrees for model in item_view(result).models] == [False, False, True]


def test_turned_tables_keep_every_number() -> None:
    for grid in grids(table1()):
        turned = turn(grid)
        assert len(turned.heads) == len(grid.rows) and all(len(cells) == len(grid.rows) for _, cells in turned.rows)
        shown = {text for _, cells in turned.rows for cell in cells for text in (cell.here, cell.paper)} - {"", "–"}
        starts, column = set(), 0
        for _, subs in grid.groups:  # ours and the paper's; differences stand in the comparison
            starts |= {column, column + 1} if len(subs) > 1 else {column}
            column += len(subs)
        wanted = {minus(row[k]) for row in grid.rows for k in starts if k >= grid.n_labels} - {"–"}
        assert wanted == shown


def test_numbers_are_set_as_numbers() -> None:
    assert minus("-17.52 ± 0.01") == "−17.52 ± 0.01" and minus("1.2e-06") == "1.2×10⁻⁶" and minus("5.0e-03") == "0.0050"
    assert minus("eight-fold, x-1, 3-4, -dirty") == "eight-fold, x-1, 3-4, -dirty"
    assert [percent(r) for r in (0.0156, -0.991, 0.0, 2.5)] == ["+1.6%", "−99%", "0", "+250%"]
    assert [duration(s) for s in (3.4, 150.0, 7200.0)] == ["3 s", "2.5 min", "2.0 h"]


def test_packed_arrays_come_back_to_half_a_unit() -> None:
    array = np.random.default_rng(0).normal(size=(5, 7, 2)) * 4
    array[2, 3] = np.nan
    back = unpack(json.loads(json.dumps(pack(array))))
    assert np.array_equal(np.isnan(back), np.isnan(array))
    assert np.nanmax(np.abs(back - array)) <= np.nanmax(np.abs(array)) / 65534 * (1 + 1e-6)
    assert np.array_equal(unpack(pack(np.zeros((2, 0)))), np.zeros((2, 0))) and unpack(pack([0.0]))[0] == 0.0


def test_the_views_have_the_arrays_they_were_given(text: str) -> None:
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert raw is not None
    data = json.loads(raw[1])
    (group,), (sheets,) = data["flows"], data["traversals"]
    points, view = plane()
    assert group["title"] == "two moons" and group["flows"][0]["left_out"] == 1
    assert np.abs(unpack(group["x"]) - points.x).max() < 1e-4
    assert np.nanmax(np.abs(unpack(group["flows"][0]["frames"]) - view.frames)) < 1e-3
    assert group["flows"][0]["frames"]["shape"] == [T, N, 2]
    assert sheets["values"] == [-1.75, -0.875, 0.0, 0.875, 1.75] and sheets["points"] == 2


def test_pictures_are_narrowed_together_until_they_fit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 1800, 3)).astype(np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "b")}
    wide = embed_pictures(paths, 10**8)
    assert {picture.width for picture in wide.values()} == {1600}
    less = embed_pictures(paths, 2_500_000)
    assert len({picture.width for picture in less.values()}) == 1 and less["a"].width < 1600
    assert sum(len(picture.uri) for picture in less.values()) <= 2_500_000
    with pytest.raises(BadInput, match=r"2 pictures.*640 pixels"):
        embed_pictures(paths, 10_000)


def test_a_picture_that_fits_is_kept_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png", optimize=True)
    (picture,) = embed_pictures({"a": tmp_path / "a.png"}, 10**6).values()
    assert (picture.width, picture.height) == (30, 20)
    assert picture.uri == data_uri("image/png", (tmp_path / "a.png").read_bytes())


def save(path: Path, **arrays: object) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_traversals_come_from_their_file(tmp_path: Path) -> None:
    made = traversals()
    arrays = {"images": made.images, "panels": np.array(made.panels), "kl": made.kl, "values": made.values}
    read = read_traversals(save(tmp_path / "fig5_traversals.npz", **arrays))
    assert read.panels == made.panels and np.array_equal(read.images, made.images)
    flat = read_traversals(save(tmp_path / "fig5_traversals.npz", **{**arrays, "images": made.images[:, :, :, :, 0]}))
    assert np.array_equal(flat.images, made.images), "the channel may be left out"
    with pytest.raises(BadInput, match=r"missing: kl.*make reproduce-fig5"):
        read_traversals(save(tmp_path / "fig5_traversals.npz", **{k: v for k, v in arrays.items() if k != "kl"}))
    with pytest.raises(BadInput, match="4 coordinates and 4 values"):
        read_traversals(save(tmp_path / "fig5_traversals.npz", **{**arrays, "values": made.values[:-1]}))


def test_data_points_that_do_not_fit_are_counted() -> None:
    one = traversal_data("Figure 5", traversals(1), 10**6)
    size = sum(len(uri) for panel in one["sheets"] for uri in panel)
    few = traversal_data("Figure 5", traversals(6), 3 * size + 10)
    assert few["points"] == 3 and few["left_out"] == 3 and [len(panel) for panel in few["sheets"]] == [3, 3, 3]
    assert traversal_data("Figure 5", traversals(2), 0)["points"] == 1


def test_a_histogram_counts_every_error_once() -> None:
    errors = np.concatenate([np.zeros(7), 10 ** np.random.default_rng(0).uniform(-9, -4, 400), [1e-4]])
    drawn = histogram(errors, "errors")
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', drawn)]
    assert drawn.count("bar zero") == 1
    unit = heights[0] / 7
    assert abs(sum(heights) / unit - len(errors)) < 0.02 * len(errors), "all bars have one scale"
    Reader(drawn)
    Reader(histogram([], "none"))


def test_curves_have_gaps_and_one_point_is_a_curve() -> None:
    drawn = curves([("a", {1: 3.0, 2: 2.0, 3: None, 4: 1.0})], "falls < & >")
    path = re.search(r'class="line s0" d="([^"]*)"', drawn)
    assert path is not None and path[1].count("M") == 2 and path[1].count("L") == 1
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path[1])]
    assert heights == sorted(heights), "smaller is lower on the page"
    assert 'aria-label="falls &lt; &amp; &gt;"' in drawn
    Reader(curves([("a", {1: 1.0})], "one"))
    Reader(curves([("a", {1: None, 2: None})], "none"))


def test_a_curve_passes_over_what_was_not_measured() -> None:
    drawn = curves([("val", {2: 3.0, 4: 2.0, 6: 1.0}), ("train", {k: 2.0 for k in range(1, 7)})], "")
    paths = re.findall(r'class="line s\d" d="([^"]*)"', drawn)
    val, train = (re.findall(r"[ML]([\d.]+) ", path) for path in paths)
    assert len(val) == 3 and val == train[1::2] and [path.count("M") for path in paths] == [1, 1]


@pytest.mark.parametrize("stem", ["fig3", "fig4_optimum", "fig5_2", "table2_new_thing", "unknown"])
def test_every_figure_has_words(stem: str) -> None:
    said = words(stem, ["FFJORD", "FFJORD+GP"])
    assert len(said.alt) > 10 and len(said.caption) > 5 and said.alt != said.caption


def test_the_style_gives_both_schemes_enough_contrast(text: str) -> None:
    """WCAG 2.1 AA: 4.5 between text and ground, for each pair of names that meet."""
    blocks = re.findall(r"--paper: (?:.|\n)*?--s3: #\w+", text)
    assert len(blocks) == 3 and blocks[1].split() == blocks[2].split(), "the chosen dark scheme is the system's"
    for block in blocks:
        colour = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for ink in ("ink", "soft", "accent", "good"):
            for ground in ("paper", "card"):
                assert contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
        assert contrast(colour["warn"], colour["warn-ground"]) >= 4.5
        assert all(contrast(colour[f"s{k}"], colour["paper"]) >= 3.0 for k in range(4)), "lines and bars"


def contrast(one: str, other: str) -> float:
    def luminance(text: str) -> float:
        parts = np.array([int(text[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_fixture_is_small(text: str) -> None:
    assert len(text.encode()) < MOST_BYTES / 100
