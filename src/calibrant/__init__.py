"""Config-driven INT8 post-training quantization for TensorFlow graphs."""
