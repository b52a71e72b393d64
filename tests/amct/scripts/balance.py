"""Balance activations against weights before calibrating: MODEL INPUT OUTPUT SAMPLES.npy QUANT.cfg."""

import sys

import amct_tensorflow as amct
import numpy as np
import tensorflow as tf

model, feed, fetch, samples, config = sys.argv[1:]
data = np.load(samples)


def load():
    graph = tf.Graph()
    with graph.as_default(), tf.io.gfile.GFile(model, "rb") as stream:
        definition = tf.compat.v1.GraphDef.FromString(stream.read())
        tf.compat.v1.import_graph_def(definition, name="")
    return graph


def calibrate(graph):
    with tf.compat.v1.Session(graph=graph) as session:
        session.run([fetch], {feed: data})


amct.create_quant_config("balance/config.json", load(), config_defination=config)
graph = load()
amct.quantize_preprocess(graph, "balance/config.json", "balance/record.txt", outputs=[fetch])
calibrate(graph)
graph = load()
amct.quantize_model(graph, "balance/config.json", "balance/record.txt", calib_outputs=[fetch])
calibrate(graph)
amct.save_model(model, [fetch], "balance/record.txt", "balance/net")
print("balanced:", "tensor_balance_factor" in open("balance/record.txt").read())
