"""From float weights and biases to integers."""
