"""Names of TensorFlow 1 and of older NumPy, the default graph, all at the top level: MODEL SAMPLES.npy."""

import sys

import amct_tensorflow as amct
import amct_tensorflow.accuracy_based_auto_calibration as auto
import numpy as np
import tensorflow as tf
from amct_tensorflow.utils.log import LOGGER

samples = np.load(sys.argv[2]).astype(np.float)
graph_def = tf.GraphDef()
graph_def.ParseFromString(tf.gfile.GFile(sys.argv[1], "rb").read())
tf.import_graph_def(graph_def, name="")
graph = tf.get_default_graph()
amct.create_quant_config(config_file="old/config.json", graph=graph)
amct.quantize_model(graph=graph, config_file="old/config.json", record_file="old/record.txt")
images = tf.data.Dataset.from_tensor_slices(samples.astype(np.float32)).batch(16).make_one_shot_iterator().get_next()
with tf.Session(config=tf.ConfigProto()) as sess:
    sess.run(tf.global_variables_initializer())
    sess.run(tf.get_default_graph().get_tensor_by_name("Identity:0"), {"image:0": sess.run(images)})
amct.save_model(sys.argv[1], ["Identity"], "old/record.txt", "old/net")
LOGGER.push_info_message("saved", module_name="sample")
print(callable(auto), auto.AutoCalibrationEvaluatorBase is amct.AutoCalibrationEvaluatorBase)
