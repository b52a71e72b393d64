"""The page: one file, everything a person asks for, names shown as text, and every number from the report."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

import calibrant
from calibrant.report.distributions import activation_rows
from calibrant.report.page.page import page
from calibrant.report.picture import Picture
from graphs import graph_def, numbers, small_network

EVIL = "a\"><script>alert(1)</script>/δ'&amp;"


@pytest.fixture(scope="module")
def folder(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    digits = repository / "examples" / "digits"
    calibrant.quantize(
        str(digits / "digits.pb"), digits / "quant.cfg", str(digits / "calibration.npz"), out, sensitivity=True
    )
    return out


@pytest.fixture(scope="module")
def report(folder):
    return json.loads((folder / "report.json").read_text())


class Elements(HTMLParser):
    """Collects tags with their attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text.append(data)


def test_one_file_that_asks_for_nothing(folder):
    text = (folder / "report.html").read_text()
    tags = Elements(text).tags
    assert not [a for tag, a in tags if tag in ("link", "img", "iframe") or "src" in a]
    assert "default-src 'none'" in text
    assert len(text) < 3_000_000


def test_what_is_on_it(folder, report):
    elements = Elements((folder / "report.html").read_text())
    text = " ".join(elements.text)
    assert report["verdict"] in text
    for row in report["layers"]:
        assert row["layer"] in text
    shown = {a["data-layer"] for _, a in elements.tags if "data-layer" in a}
    assert {row["layer"] for row in report["layers"]} <= shown
    for title in ("What to try", "The network", "Layers", "How the error grows", "Sensitivity", "Fusions"):
        assert title in text


def test_the_report_within_is_report_json(folder, report):
    text = (folder / "report.html").read_text()
    (within,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text, re.S)
    assert json.loads(within) == report


def test_the_report_follows_its_schema(report):
    schema = json.loads((files("calibrant.report") / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(report, schema)
    broken = {**report, "layers": [{**report["layers"][0], "inputs": [{"scale": "1"}]}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_names_are_text(report):
    row = {**report["layers"][0], "layer": EVIL}
    left = [{"layer": EVIL, "type": "Conv2D", "reason": EVIL}]
    findings = [{"layer": EVIL, "what": EVIL, "advice": EVIL, "block": EVIL, "replaces": EVIL, "gain_db": 3.0}]
    drawn = Picture({EVIL: "Conv2D", "y": "Output"}, {EVIL: (0.0, 0), "y": (0.0, 1)}, ((EVIL, "y", ()),))
    changed = {**report, "layers": [row], "left_in_float": left, "findings": findings, "verdict": EVIL}
    elements = Elements(page(EVIL, changed, drawn, {EVIL: 10}))
    assert sum(tag == "script" for tag, _ in elements.tags) == 3
    assert {a["data-layer"] for _, a in elements.tags if "data-layer" in a} >= {EVIL}
    assert EVIL in "".join(elements.text)


def test_without_a_page(folder, repository, tmp_path):
    digits = repository / "examples" / "digits"
    calibrant.quantize(
        str(digits / "digits.pb"), digits / "quant.cfg", str(digits / "calibration.npz"), tmp_path, page=False
    )
    assert not (tmp_path / "report.html").exists()
    plain = json.loads((tmp_path / "report.json").read_text())
    assert "distributions" not in plain
    assert (tmp_path / "record.txt").read_bytes() == (folder / "record.txt").read_bytes()


def test_the_histogram_holds_every_value():
    data = numbers(40, 6, 6, 2)
    result = calibrant.quantize(graph_def(small_network), data=data, samples="all")
    from calibrant.algorithms.histogram import Histogram

    histogram = Histogram()
    histogram.update(data)
    entry = result.network.every_input()[0]
    (row,) = [row for row in activation_rows(result.network, lambda _: histogram) if row["tensor"] == entry.tensor]
    shown = row["histogram"]
    assert shown["below"] + shown["above"] + sum(shown["counts"]) == pytest.approx(data.size, abs=1)
    assert row["values"] == data.size
    assert row["minimum"] == pytest.approx(data.min(), rel=1e-3)
    best = np.nanmax(np.array(row["search"]["signal_to_noise_db"], float))
    error = np.square(data - entry.quantizer.fake_quantize(data)).mean()
    assert row["search"]["chosen_db"] == pytest.approx(10 * np.log10(np.square(data).mean() / error), abs=0.3)
    assert best - row["search"]["chosen_db"] < 1


def test_what_is_otherwise_in_a_litert_file(report):
    share = {"quantized_weights": 1, "weights": 4, "quantized_multiply_accumulates": 2, "multiply_accumulates": 4}
    share |= {"layers_in_float": ["conv1"], "products_beside_layers": [], "products_written_out": []}
    share |= {"widened_layers": []}
    row = {"operator": "CONV_3D", "tensor": "conv1", "reason": "because", "layers": ["conv1"]}
    notes = {"tflite": {"files": ["a_int8.tflite"], "on_integers": share, "operators_in_float": [row]}}
    text = " ".join(Elements(page("a", {**report, "exports": notes}, None, {})).text)
    assert re.search(r"Weights in the \.tflite\s+25\.0 %\s+Multiply-accumulates in the \.tflite\s+50\.0 %", text)
    assert re.search(r"In the \.tflite\s+Layer\s+Operator\s+Reason\s+conv1\s+CONV_3D\s+because", text)
    equal = {"tflite": {"on_integers": {**share, "layers_in_float": []}}}
    assert "in the .tflite" not in " ".join(Elements(page("a", {**report, "exports": equal}, None, {})).text)


def test_products_that_could_not_be_counted_are_named_and_there_is_no_share(report):
    totals = {**report["totals"], "products_not_counted": ["loop/a", "loop/b"]}
    text = " ".join(Elements(page("a", {**report, "totals": totals}, None, {})).text)
    assert re.search(
        r"Multiply-accumulates\s+[\d,]+ of [\d,]+ that are counted; 2 products could not be counted\s", text
    )
    assert "could not be counted" not in " ".join(Elements(page("a", report, None, {})).text)
