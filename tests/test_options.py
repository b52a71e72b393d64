"""Groups of options and their fields as keywords are the same to every function of the interface."""

import contextlib
import dataclasses
import inspect
import pickle

import numpy as np
import pytest

import calibrant
from calibrant import CalibrationOptions, DataOptions, ExportOptions, ModelOptions
from calibrant.data.option_types import ACCEPTED, check_arguments
from calibrant.data.options import TYPES as DATA_TYPES
from calibrant.evaluation.tune import TYPES as TUNE_TYPES
from calibrant.evaluation.verify import TYPES as VERIFY_TYPES
from calibrant.graph.reading.load import load
from calibrant.options import TO_QUANTIZE, TO_READ, UNCHECKED, Options
from calibrant.progress import no_progress
from graphs import tf

MODEL, CONFIG, DATA = (f"examples/digits/{name}" for name in ("digits.pb", "quant.cfg", "calibration.npz"))


def test_groups_and_keywords_are_the_same():
    groups = Options.of(TO_QUANTIZE, [ExportOptions("ascend", "net"), CalibrationOptions(samples="all")], {})
    keywords = Options.of(TO_QUANTIZE, [], {"export": ["ascend"], "name": "net", "samples": "all"})
    assert groups == keywords
    assert Options.of(TO_QUANTIZE, groups.groups, {}) == groups
    assert pickle.loads(pickle.dumps(groups)) == groups


def test_a_keyword_takes_precedence():
    chosen = Options.of(TO_READ, [DataOptions(batch_size=4, shuffle=1)], {"batch_size": 8})
    assert chosen.data == DataOptions(batch_size=8, shuffle=1)


def test_no_name_is_in_two_groups():
    names = [field.name for kind in TO_QUANTIZE for field in dataclasses.fields(kind)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "groups, keywords, message",
    [
        ([DataOptions(), DataOptions(shuffle=1)], {}, "unexpected argument DataOptions"),
        ([ExportOptions()], {}, "allowed: each once: ModelOptions, DataOptions"),
        (["out"], {}, "unexpected argument 'out'"),
        ([], {"batchsize": 3, "expor": 1}, "'batchsize'(.|\n)*'batch_size'(.|\n)*'expor'"),
        ([], {"export": "tflite"}, "unknown keyword 'export'"),
    ],
)
def test_what_is_no_option(groups, keywords, message):
    with pytest.raises(calibrant.DataError, match=message):
        Options.of(TO_READ, groups, keywords)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"export": "tflit"}, "'tflite'"),
        ({"tflite_io": "int16"}, "float32 or int8"),
        ({"tflite_shape": {"x": (0, 3)}}, "tflite_shape of 'x'"),
    ],
)
def test_exports_are_checked_at_once(values, message):
    with pytest.raises(calibrant.ConfigError, match=message):
        ExportOptions(**values)


@pytest.mark.parametrize(
    "name, groups",
    [
        ("quantize", TO_QUANTIZE),
        ("observe", TO_QUANTIZE),
        ("merge", TO_QUANTIZE),
        ("evaluate", TO_READ),
        ("verify", TO_READ),
        ("tune", TO_READ),
        ("check_config", (ModelOptions,)),
    ],
)
def test_signatures_show_every_keyword(name, groups):
    shown = set(inspect.signature(getattr(calibrant, name)).parameters)
    assert {field.name for kind in groups for field in dataclasses.fields(kind)} <= shown
    assert "keywords" not in shown


@pytest.mark.parametrize("name", ["quantize", "observe", "merge", "evaluate", "verify", "golden", "tune"])
def test_every_argument_has_a_row(name):
    own = inspect.signature(inspect.unwrap(getattr(calibrant, name))).parameters.values()
    annotations = {entry.annotation for entry in own if entry.kind not in (entry.VAR_POSITIONAL, entry.VAR_KEYWORD)}
    rows = {*ACCEPTED, *VERIFY_TYPES, *TUNE_TYPES, *UNCHECKED}
    assert {annotation.removesuffix(" | None") for annotation in annotations} <= rows


def test_quantize_takes_both(repository):
    model, config, data = (str(repository / path) for path in (MODEL, CONFIG, DATA))
    first = calibrant.quantize(model, config, data, None, ExportOptions("ascend", "net"), DataOptions(batch_size=8))
    second = calibrant.quantize(model, config, data, export="ascend", name="net", batch_size=8)
    assert list(first.exported) == list(second.exported) and "net_quantized.pb" in first.exported
    assert first.exported["net_quantized.pb"] == second.exported["net_quantized.pb"]


def test_check_config(repository):
    model = str(repository / MODEL)
    (problem,) = calibrant.check_config("skip_layers : 'nosuch'", model).problems
    assert "nosuch" in str(problem)
    checked = calibrant.check_config(repository / CONFIG, model)
    assert checked.problems == () and {row.layer for row in checked.plan if row.quantized}
    assert calibrant.check_config(repository / CONFIG).plan == ()


FIELDS = [(kind, field.name) for kind in TO_QUANTIZE for field in dataclasses.fields(kind)]


OWN = {"out": 3, "resume": b"x", "refine": "yes", "sensitivity": 2}
"""Wrong values of what is an argument of ``quantize`` itself, and in no group."""


def test_every_annotation_of_an_option_has_a_row():
    annotations = {
        str(field.type).removesuffix(" | None") for kind in TO_QUANTIZE for field in dataclasses.fields(kind)
    }
    own = {calibrant.quantize.__annotations__[name].removesuffix(" | None") for name in OWN}
    assert annotations | own <= {*ACCEPTED, *DATA_TYPES}


@pytest.mark.parametrize(
    "value", [object(), b"x", 1.5, np.zeros(3), {1: 2}, [1], len, float("nan")], ids=lambda value: type(value).__name__
)
def test_wrong_types_name_the_option(value):
    for kind, name in FIELDS:
        with contextlib.suppress(calibrant.CalibrantError):
            kind(**{name: value})
    with pytest.raises(calibrant.DataError, match=r"shuffle is (.|\n)*\((.|\n)*allowed: a whole number, or None"):
        DataOptions(shuffle=value)


def test_wrong_types_of_arguments_are_listed():
    with pytest.raises(calibrant.DataError) as refused:
        calibrant.quantize("no.pb", data="no.npy", **OWN)
    assert [problem.message for problem in refused.value.problems] == [
        "out is 3 (int)",
        "refine is 'yes' (str)",
        "sensitivity is 2 (int)",
        "resume is b'x' (bytes)",
    ]
    allowed = [problem.allowed for problem in refused.value.problems]
    assert allowed == ["a path, or None", "True or False, or None", "True or False", "a path, or None"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibrant.observe("no.pb", data="no.npy", state=3),
        lambda: calibrant.observe("no.pb", data="no.npy", batches="0:2"),
        lambda: calibrant.observe("no.pb", None, "no.npy", "state", (0, 1.5)),
        lambda: calibrant.merge(["no.npz"], "no.pb", out=3),
        lambda: calibrant.golden("no", "no.npy", out=3),
        lambda: calibrant.tune("no.pb", data="no.npy", tolerance=0.1, refine="yes"),
        lambda: calibrant.tune("no.pb", data="no.npy", tolerance="1%"),
        lambda: calibrant.merge("no.npz", "no.pb"),
        lambda: calibrant.evaluate("no.pb", "no.npy", ignore_labels=255),
        lambda: calibrant.evaluate("no.pb", "no.npy", names="abc"),
        lambda: calibrant.verify(3, "no.npy"),
        lambda: calibrant.verify("no", "no.npy", limits=0.9),
        lambda: calibrant.ImageOptions(size=224),
        lambda: calibrant.ImageOptions(scale="1/255"),
        lambda: calibrant.ImageOptions(mean=["a", "b", "c"]),
        lambda: DataOptions(image_options="crop"),
    ],
)
def test_other_functions_check_theirs(call):
    with pytest.raises(
        calibrant.DataError,
        match=r"^(\w+ is (.|\n)*allowed: (a path|True|a number|a list of|Limits|two whole numbers|ImageOptions))",
    ):
        call()


VALUES = {
    "batch_size": -1,
    "workers": -1,
    "threads": -1,
    "samples": "abc",
    "shuffle": -1,
    "image_size": [],
    "image_options": {"x": None},
    "shapes": {"x": None},
    "dtypes": {"x": "nosuch"},
    "name": "",
}
"""Of the right type, and not allowed."""


@pytest.mark.parametrize("name", VALUES)
def test_every_function_refuses_the_values_that_quantize_refuses(name):
    said = set()
    for call in (
        lambda **given: calibrant.quantize("no.pb", data="no.npy", **given),
        lambda **given: calibrant.observe("no.pb", data="no.npy", **given),
        lambda **given: calibrant.merge(["no.npz"], "no.pb", **given),
    ):
        with pytest.raises((calibrant.DataError, calibrant.OutputError)) as refused:
            call(**{name: VALUES[name]})
        said.add(str(refused.value))
    assert len(said) == 1 and "no.pb" not in said.pop()


@pytest.mark.parametrize(
    "call",
    [
        lambda track: calibrant.quantize("no.pb", data="no.npy", track=track),
        lambda track: calibrant.observe("no.pb", data="no.npy", track=track),
        lambda track: calibrant.evaluate("no.pb", "no.npy", track=track),
        lambda track: calibrant.verify("no", "no.npy", track=track),
        lambda track: calibrant.golden("no", "no.npy", track=track),
        lambda track: calibrant.tune("no.pb", data="no.npy", tolerance=0.1, track=track),
    ],
    ids=["quantize", "observe", "evaluate", "verify", "golden", "tune"],
)
@pytest.mark.parametrize("track", [lambda: 1, lambda items: items, 3, None], ids=["none", "one", "number", "nothing"])
def test_what_cannot_show_progress(call, track):
    with pytest.raises(
        calibrant.DataError, match=r"track is .*\n.*allowed: a function of \(items, description, total\)"
    ):
        call(track)


def test_what_can_show_progress():
    for track in (no_progress, lambda items, *_: items, lambda items, description, total, own=1: items, zip):
        check_arguments({"track": "ProgressFn"}, {"track": track})


def test_empty_path_is_not_the_working_directory():
    with pytest.raises(calibrant.OutputError, match="the path of the output folder is empty"):
        calibrant.quantize(MODEL, data=DATA, out="")


@pytest.mark.parametrize("config", [3, b"batch_num : 1", {"batch_num": 1}], ids=str)
def test_what_is_no_configuration(config):
    with pytest.raises(calibrant.ConfigError, match=r"config is (.|\n)*allowed: the path of a configuration file"):
        calibrant.quantize(MODEL, config, DATA)


def test_types_that_are_taken():
    assert CalibrationOptions(samples=np.int64(3), equalize=np.bool_(True), budget=1).samples == 3
    assert DataOptions(shapes={"x": (1, None)}, image_size=np.array([3, 4])).batch_size is None
    assert DataOptions(shapes={"x": map(int, "12")}).shapes == {"x": (1, 2)}
    assert calibrant.ImageOptions(mean=np.array(0.5), scale=np.array(2.0)).scale == 2
    assert calibrant.ImageOptions(size=np.array([3, 4]), std=np.array([1.0, 2.0, 3.0])).crop is None
    assert calibrant.ImageOptions(size=np.array([8, 9]), resize_side=np.array(10)).size == (8, 9)
    assert ModelOptions(inputs="x", outputs=("y", "z"), trust_model=1).inputs == "x"


def test_numbers_of_numpy_are_those_of_python(repository, tmp_path):
    model, config, data = (str(repository / path) for path in (MODEL, CONFIG, DATA))
    given = {
        "samples": np.int32(32),
        "batch_size": np.uint8(16),
        "budget": np.float32(0.5),
        "bias_correction": np.bool_(True),
        "workers": np.int64(1),
    }
    calibrant.quantize(model, config, data, tmp_path / "numpy", refine=np.bool_(False), sensitivity=np.False_, **given)
    own = {name: value.item() for name, value in given.items()}
    calibrant.quantize(model, config, data, tmp_path / "python", refine=False, **own)
    for file in (tmp_path / "python").iterdir():
        if not file.name.startswith("report"):
            assert (tmp_path / "numpy" / file.name).read_bytes() == file.read_bytes()


def test_one_tensor_may_be_given_as_a_text():
    graph = load(MODEL, inputs="image", outputs="Identity")
    assert (graph.inputs, graph.outputs) == (("image:0",), ("Identity:0",))


@pytest.mark.parametrize("setting", [{"tflite_batch": 2}, {"tflite_io": "int8"}, {"tflite_shape": {"x": (1, 4)}}])
def test_settings_of_a_file_that_is_not_written(setting):
    with pytest.raises(calibrant.ConfigError, match=f"{next(iter(setting))}: no .tflite is written") as refused:
        ExportOptions(export="ascend", **setting)
    assert "--export tflite" in str(refused.value)
    both = ExportOptions(export="ascend,tflite", **setting)
    assert both.formats == ("ascend", "tflite") and both.writes_tflite and not ExportOptions("ascend").writes_tflite


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibrant.quantize(MODEL, None, DATA),
        lambda: calibrant.evaluate([MODEL], DATA),
        lambda: calibrant.tune(MODEL, None, DATA, tolerance=0.5),
        lambda: calibrant.check_config(CONFIG, MODEL),
    ],
    ids=["quantize", "evaluate", "tune", "check_config"],
)
def test_nothing_is_run_while_a_function_is_traced(call):
    for autograph in (False, True):
        with pytest.raises(calibrant.ModelError, match="while TensorFlow traces a function"):
            tf.function(call, autograph=autograph)()


def test_autograph_converts_no_function_of_the_interface(capfd):
    def measured():
        calibrant.quantize(MODEL, None, DATA)

    def wrong():
        calibrant.quantize(MODEL, None, DATA, refine="no")

    for call, error, message in (
        (measured, calibrant.ModelError, "while TensorFlow traces a function"),
        (wrong, calibrant.DataError, "refine is 'no'"),
    ):
        with pytest.raises(error, match=message):
            tf.function(call)()
    assert "AutoGraph" not in capfd.readouterr().err
