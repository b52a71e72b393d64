"""An evaluator for the shell: runs two batches from the folder ``bins``."""

import amct_tensorflow.common.cmd_line_utils.data_handler as data_handler
import tensorflow as tf


class Evaluator:
    def calibration(self, graph, outputs):
        with tf.Session(graph=graph, config=tf.ConfigProto(allow_soft_placement=True)) as session:
            session.run(tf.global_variables_initializer())
            for feeds in data_handler.load_data({"image:0": [16, 8, 8, 1]}, ["bins"], ["float32"], 2):
                session.run(outputs, feed_dict=feeds)


evaluator = Evaluator()
