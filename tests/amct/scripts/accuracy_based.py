"""Leave layers in float until few enough answers are lost: MODEL INPUT OUTPUT SAMPLES LABELS LOSS CONFIG."""

import sys

import amct_tensorflow as amct
import numpy as np
import tensorflow as tf
from amct_tensorflow.common.auto_calibration import AutoCalibrationEvaluatorBase

model, feed, fetch, samples, labels, allowed, config = sys.argv[1:]
samples, labels = np.load(samples), np.load(labels)


class Evaluator(AutoCalibrationEvaluatorBase):
    def calibration(self, graph, outputs):
        with tf.compat.v1.Session(graph=graph) as session:
            session.run(outputs[0] + ":0", {feed: samples[:64]})

    def evaluate(self, graph, outputs):
        with tf.compat.v1.Session(graph=graph) as session:
            scores = session.run(outputs[0] + ":0", {feed: samples})
        return 100 * np.mean(scores.argmax(-1) == labels)

    def metric_eval(self, original_metric, new_metric):
        loss = original_metric - new_metric
        return loss <= float(allowed), loss


graph = tf.Graph()
with graph.as_default(), open(model, "rb") as stream:
    tf.import_graph_def(tf.compat.v1.GraphDef.FromString(stream.read()), name="")
amct.create_quant_config("auto/config.json", graph, config_defination=config)
amct.accuracy_based_auto_calibration(
    model, [fetch.split(":")[0]], "auto/record.txt", "auto/config.json", "auto/net", Evaluator()
)
print("done")
