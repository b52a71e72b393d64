"""The options of a run, as the page shows them."""

import json

import numpy as np
import pytest

import calibrant
from calibrant.data.images import ImageOptions
from calibrant.options import TO_QUANTIZE, Options
from calibrant.report.given_options import run_options
from calibrant.report.option_words import option_words
from calibrant.report.same_options import same_options
from graphs import graph_def, numbers, small_network


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ""),
        ({"samples": "all", "signature": "a b"}, "--signature 'a b' --samples all"),
        ({"constants": {"train": False, "rate": 0.5}}, "--set train=false --set rate=0.5"),
        ({"shapes": {"x": (None, 3), "y": [2]}}, "--input_shape 'x:-1,3;y:2'"),
        ({"dtypes": {"x": np.float32, "y": "uint8"}}, "--data_types 'float32;uint8'"),
        (
            {"image_options": ImageOptions(scale=0.5, mean=(1, 2, 3), size=(8, 4))},
            "--image-size 8,4 --scale 0.5 --mean 1,2,3",
        ),
        ({"image_options": {"colour": "BGR", "layout": "NCHW"}}, "--colour BGR layout='NCHW'"),
        (
            {"export": "tflite", "tflite_io": "int8", "tflite_shape": {"x": (1, 8)}, "tflite_dense_per_channel": True},
            "--tflite-io int8 --tflite-shape x=1,8 --tflite-dense-per-channel --export tflite",
        ),
    ],
)
def test_words(given, words):
    row = run_options(Options.of(TO_QUANTIZE, (), given), refine="default", equalize=None)
    assert option_words(json.loads(json.dumps(row))) == words


def test_what_a_run_decides_by_itself():
    options = {"bias_correction": False, "equalize": True, "refine": "default", "budget": 0.1, "export": ["tflite"]}
    assert option_words(options) == "--no-bias-correction --equalize --budget 10% --export tflite"
    assert option_words({"refine": True}) == "--refine" and option_words({"refine": False}) == "--no-refine"


def test_what_gives_a_model_again():
    assert same_options({"refine": "default", "equalize": False}) == "--no-equalize"
    lite = {"refine": "default", "export": ["ascend", "tflite"], "tflite_io": "int8"}
    assert same_options(lite) == "--export tflite --tflite-io int8"
    options = {"refine": True, "bias_correction": False, "shuffle": 0, "image_options": {"scale": 0.5}}
    assert same_options(options) == "--refine --no-bias-correction --shuffle 0 --scale 0.5"


def test_the_report_keeps_the_preprocessing(tmp_path):
    x = numbers(8, 6, 6, 2)
    result = calibrant.quantize(graph_def(small_network), None, x, tmp_path, image_options={"scale": 0.5}, refine=False)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["run"]["options"] == result.report["run"]["options"]
    assert written["run"]["options"]["image_options"] == {"scale": 0.5}
    page = (tmp_path / "report.html").read_text()
    assert "--scale 0.5" in page and "model_fakequant.pb" in page.partition("</dl>")[0]
