"""Every call answers wrong arguments with one error of ours and writes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calibrant import amct
from calibrant.errors import CalibrantError
from command_line import tree
from graphs import dense, graph_def, numbers, placeholder, save, small_network, tf

DATA = numbers(16, 6, 6, 2)


def graph_of(build=small_network):
    with tf.Graph().as_default() as graph:
        build()
    return graph


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a model, a config.json and the record of a calibration; the working directory."""
    monkeypatch.chdir(tmp_path)
    save(graph_def(small_network), tmp_path / "net.pb")
    amct.create_quant_config("config.json", graph_of())
    graph = graph_of()
    amct.quantize_model(graph, "config.json", "record.txt", ["out"])
    with tf.compat.v1.Session(graph=graph) as session:
        session.run("out:0", {"x:0": DATA})
    (tmp_path / "no_graph.pb").write_text("this is no graph")
    text = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "unknown.json").write_text(json.dumps({**text, "konv": text["conv"]}))
    (tmp_path / "two.json").write_text(json.dumps({**text, "batch_num": 2}))
    record = (tmp_path / "record.txt").read_text()
    (tmp_path / "lacks.txt").write_text(record[: record.rindex("record {")])
    notes = tmp_path / "record.txt.calibration.json"
    (tmp_path / "lacks.txt.calibration.json").write_bytes(notes.read_bytes())
    return tmp_path


class Evaluator(amct.AutoCalibrationEvaluatorBase):
    """Runs no batch."""

    def calibration(self, graph, outputs):
        """Nothing."""

    def evaluate(self, graph, outputs):
        """The same for all."""
        return 1.0

    def metric_eval(self, original_metric, new_metric):
        """Good enough."""
        return True, 0.0


def auto(**changed):
    given = {
        "model_file": "net.pb",
        "outputs": ["out"],
        "record_file": "new/record.txt",
        "config_file": "config.json",
        "save_dir": "new/net",
        "evaluator": Evaluator(),
    }
    return lambda: amct.accuracy_based_auto_calibration(**{**given, **changed})


CALLS = {
    "graph is a NoneType": lambda: amct.create_quant_config("new/c.json", None),
    "graph is a str": lambda: amct.quantize_model("net.pb", "config.json", "new/r.txt"),
    "there is no layer|konv": lambda: amct.create_quant_config("new/c.json", graph_of(), skip_layers=["konv"]),
    "batch_num is 0": lambda: amct.create_quant_config("new/c.json", graph_of(), batch_num=0),
    "batch_num is '2'": lambda: amct.create_quant_config("new/c.json", graph_of(), batch_num="2"),
    "activation_offset is 1": lambda: amct.create_quant_config("new/c.json", graph_of(), activation_offset=1),
    "does not exist|no such": lambda: amct.create_quant_config("new/c.json", graph_of(), config_defination="no.cfg"),
    "'konv' is unknown|konv": lambda: amct.quantize_model(graph_of(), "unknown.json", "new/r.txt"),
    "there is no node 'nowhere'": lambda: amct.quantize_model(graph_of(), "config.json", "new/r.txt", ["nowhere"]),
    "no layer is to be balanced": lambda: amct.quantize_preprocess(graph_of(), "config.json", "new/r.txt"),
    "is not a frozen TensorFlow": lambda: amct.save_model("no_graph.pb", ["out"], "record.txt", "new/net"),
    "there is no such model": lambda: amct.save_model("nowhere.pb", ["out"], "record.txt", "new/net"),
    "there is no node 'nix'": lambda: amct.save_model("net.pb", ["nix"], "record.txt", "new/net"),
    "outputs is \\[\\]": lambda: amct.save_model("net.pb", [], "record.txt", "new/net"),
    "the record file does not exist": lambda: amct.convert_model("net.pb", ["out"], "no.txt", "new/net"),
    "was calibrated, but has no record": lambda: amct.save_model("net.pb", ["out"], "lacks.txt", "new/net"),
    "has no FakeQuant node": lambda: amct.convert_qat_model("net.pb", ["out"], "new/net", "new/r.txt"),
    "print_level is 'loud'": lambda: amct.set_logging_level("loud"),
    "is outside what calibrant does": lambda: amct.create_quant_retrain_model(None, "c", "r"),
    "evaluator is a int": auto(evaluator=3),
    "record_file is 1": auto(record_file=1),
    "record_file is 'a": lambda: amct.save_model("net.pb", ["out"], "a\0b", "new/net"),
    "cannot be what files are called": lambda: amct.convert_model("net.pb", ["out"], "record.txt", "x" * 5000),
    "skip_layers is array": lambda: amct.create_quant_config("new/c.json", graph_of(), skip_layers=np.zeros(3)),
    "strategy is 'Binary'": auto(strategy="Binary"),
    "sensitivity is 7": auto(sensitivity=7),
    "ran 0 batches, batch_num is 1": auto(),
}


@pytest.mark.parametrize("message", CALLS)
def test_one_error_and_no_file(message, files):
    before = sorted(files.rglob("*"))
    with pytest.raises(CalibrantError, match=message):
        CALLS[message]()
    assert sorted(files.rglob("*")) == before


def test_what_is_read_is_not_written_over(files):
    config, record, net = "config.json", "record.txt", "net.pb"
    (files / "a_final_config.json").write_bytes((files / config).read_bytes())
    (files / "a_quant.json").write_bytes((files / record).read_bytes())
    before = tree(files)
    for call in (
        lambda: amct.create_quant_config(config, graph_of(), config_defination=config),
        lambda: amct.quantize_model(graph_of(), config, config),
        lambda: amct.quantize_preprocess(graph_of(), config, config),
        lambda: amct.convert_model(net, ["out"], "a_quant.json", "a"),
        lambda: amct.convert_qat_model(net, ["out"], "new/net", net),
        auto(record_file=net),
        auto(config_file="a_final_config.json", save_dir="a"),
    ):
        with pytest.raises(CalibrantError, match="would replace '"):
            call()
    assert tree(files) == before


def test_numbers_of_numpy_and_any_collection_of_layers_are_taken(files):
    for skipped in (["conv"], ("conv",), {"conv"}, {"conv": 1}.keys(), "conv", np.array(["conv"])):
        amct.create_quant_config(
            "some.json", graph_of(), skip_layers=skipped, batch_num=np.int64(2), activation_offset=np.True_
        )
        written = json.loads((files / "some.json").read_text())
        assert written["batch_num"] == 2 and not written["conv"]["quant_enable"] and written["dense"]["quant_enable"]


def test_advice_about_places_is_in_the_words_of_the_call(files, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("calibrant.publish.writable._write_nothing", refuse)
    for name, call in {
        "config_file": lambda: amct.create_quant_config("new/c.json", graph_of()),
        "record_file": lambda: amct.quantize_model(graph_of(), "config.json", "new/r.txt"),
        "save_path": lambda: amct.save_model("net.pb", ["out"], "record.txt", "new/net"),
    }.items():
        with pytest.raises(CalibrantError, match=rf"choose another place \({name}\)"):
            call()


def test_outputs_of_a_graph_that_was_changed_are_those_of_the_network(files):
    graph = graph_of()
    amct.quantize_model(graph, "config.json", "new/r.txt")
    with pytest.raises(CalibrantError, match="(?m)there is no node 'nope'(.|\n)*allowed: [^\n]*out") as error:
        amct.quantize_model(graph, "config.json", "new/r.txt", ["nope"])
    assert "calibrant_in_place" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"(?s)odd.json: this is a list in JSON.*allowed: an object with"),
        ("{}", r"(?s)^odd.json: nothing is left to quantize: the file lists no layer\n.*list one, for example 'conv'"),
        ('{"conv": {"quant_enable": false}}', r"(?s)^odd.json: nothing .* quantized, of 3.*set quant_enable"),
    ],
)
def test_a_config_json_that_is_none_is_told(text, message, files):
    (files / "odd.json").write_text(text)
    with pytest.raises(CalibrantError, match=message):
        amct.quantize_model(graph_of(), "odd.json", "new/r.txt")


def test_a_record_without_its_notes_is_warned_about(files, monkeypatch):
    said = []
    monkeypatch.setattr(amct.conversion.LOGGER, "logw", lambda text, *_: said.append(text))
    amct.save_model("net.pb", ["out"], "record.txt", "new/net")
    assert not said
    (files / "moved.txt").write_text((files / "record.txt").read_text())
    amct.convert_model("net.pb", ["out"], "moved.txt", "new/net")
    assert not said
    amct.save_model("net.pb", ["out"], "moved.txt", "new/net")
    assert said.pop().startswith(
        "there is no moved.txt.calibration.json beside moved.txt, or none that can be read: bia"
    )
    (files / "record.txt").write_text((files / "moved.txt").read_text() + "\n")
    for call in (amct.save_model, amct.convert_model):
        call("net.pb", ["out"], "record.txt", "new/net")
        assert said.pop().startswith("record.txt is not as it was when record.txt.calibration.json was written: biases")
    assert not said


def test_variables_of_a_graph_are_to_be_frozen(files):
    with tf.Graph().as_default() as graph:
        weights = tf.compat.v1.get_variable("weights", [4, 3])
        tf.matmul(placeholder([None, 4]), weights, name="scores")
        initial = tf.compat.v1.global_variables_initializer()
    message = (
        r"(?s)weights: is a variable, whose value is in a session and not in the tf.Graph.*convert_variables_to_con"
    )
    with pytest.raises(CalibrantError, match=message):
        amct.create_quant_config("variables.json", graph)
    with tf.compat.v1.Session(graph=graph) as session:
        session.run(initial)
        freeze = tf.compat.v1.graph_util.convert_variables_to_constants
        frozen = freeze(session, graph.as_graph_def(), ["scores"])
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
    amct.create_quant_config("variables.json", graph)


def test_too_few_batches_are_counted(files):
    graph = graph_of()
    amct.quantize_model(graph, "two.json", "two.txt")
    before = sorted(files.rglob("*"))
    for missing in (2, 1):
        with pytest.raises(CalibrantError, match=f"{missing} of 2 batches are still to be run"):
            amct.save_model("net.pb", ["out"], "two.txt", "new/net")
        assert sorted(files.rglob("*")) == before
        with tf.compat.v1.Session(graph=graph) as session:
            session.run("out:0", {"x:0": DATA})
    amct.save_model("net.pb", ["out"], "two.txt", "new/net")
    assert {path.name for path in (files / "new").iterdir()} == {
        f"net_{kind}" for kind in ("quantized.pb", "quant.json", "fakequant.pb")
    }


def test_a_network_that_was_not_run_is_named(files):
    with tf.Graph().as_default() as graph:
        for letter in "ab":
            tf.identity(dense(placeholder([None, 4], letter), name=f"net_{letter}"), name=f"out_{letter}")
    amct.create_quant_config("both.json", graph)
    amct.quantize_model(graph, "both.json", "both.txt")
    with tf.compat.v1.Session(graph=graph) as session:
        session.run("out_a:0", {"a:0": np.ones((2, 4), np.float32)})
    with pytest.raises(CalibrantError, match="needs the inputs of 'b'"):
        amct.save_model("net.pb", ["out_a"], "both.txt", "new/net")
