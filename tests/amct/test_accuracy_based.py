"""Accuracy-based calibration with evaluators as scripts have them."""

from __future__ import annotations

import numpy as np

from calibrant import amct
from graphs import graph_def, numbers, save, small_network, tf

DATA = numbers(16, 6, 6, 2)


class InTheDefaultGraph(amct.AutoCalibrationEvaluatorBase):
    """Opens sessions without saying which graph they run."""

    def calibration(self, graph, outputs):
        """One batch."""
        self._run(outputs)

    def evaluate(self, graph, outputs):
        """The size of the outputs."""
        assert tf.compat.v1.get_default_graph() is graph
        return float(np.abs(self._run(outputs)[0]).mean())

    def metric_eval(self, original_metric, new_metric):
        """Good enough, whatever it is."""
        return True, abs(original_metric - new_metric)

    def _run(self, outputs):
        with tf.compat.v1.Session() as session:
            return session.run([f"{name}:0" for name in outputs], {"x:0": DATA})


def test_the_network_is_the_default_graph_of_an_evaluator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(graph_def(small_network), tmp_path / "net.pb")
    (tmp_path / "quant.cfg").write_text("batch_num : 1\n")
    evaluator = InTheDefaultGraph()
    amct.accuracy_based_auto_calibration("net.pb", ["out"], "record.txt", "quant.cfg", "results/net", evaluator)
    assert (tmp_path / "results" / "net_quantized.pb").is_file()
