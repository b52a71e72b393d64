"""Quantize a frozen graph and compare it with the original: MODEL INPUT OUTPUT SAMPLES.npy BATCH [QUANT.cfg]."""

import sys

import amct_tensorflow as amct
import numpy as np
import tensorflow as tf

amct.set_logging_level(print_level="warning", save_level="info")
model, feed, fetch, samples, batch = sys.argv[1:6]
config = sys.argv[6] if len(sys.argv) > 6 else None
batches = np.split(np.load(samples), range(int(batch), len(np.load(samples)), int(batch)))


def load(path):
    definition = tf.compat.v1.GraphDef()
    with tf.io.gfile.GFile(path, "rb") as stream:
        definition.ParseFromString(stream.read())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    return graph


def run(graph, some):
    with tf.compat.v1.Session(graph=graph) as session:
        return [session.run(fetch, feed_dict={feed: each}) for each in some]


graph = load(model)
original = run(graph, batches[:1])[0]
amct.create_quant_config("tmp/config.json", graph, skip_layers=[], batch_num=2, config_defination=config)
excluded = amct.quantize_model(graph, "tmp/config.json", "tmp/record.txt", [fetch.split(":")[0]])
with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
    session.run(tf.compat.v1.global_variables_initializer())
    for each in batches[:2]:
        session.run(fetch, feed_dict={feed: each})
amct.save_model(pb_model=model, outputs=[fetch.split(":")[0]], record_file="tmp/record.txt", save_path="results/net")
quantized = run(load("results/net_quantized.pb"), batches[:1])[0]
simulated = run(load("results/net_fakequant.pb"), batches[:1])[0]
print("left out of a Saver:", excluded)
print("same answers:", np.mean(original.argmax(-1) == quantized.argmax(-1)))
print("simulation is the deployable model:", np.array_equal(simulated, quantized))
