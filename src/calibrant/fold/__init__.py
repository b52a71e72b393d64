"""Folding: norms, scalar factors and biases go into the layers in front of them, before anything is measured.

Each layer is followed along the nodes that only it feeds. Each fusion knows one kind of node there – what it does to a
channel, or that it leaves channels alone – and all of them together become one factor for the weights and one BiasAdd.
So the fusions apply to each other's results in whatever order the graph has them.
"""

from calibrant.fold.folding import fold
from calibrant.fold.fusible import fusible_nodes
from calibrant.fold.relu6 import relu6_can_be_relu
from calibrant.fold.result import Folded, Fusion, NotFused

__all__ = ["Folded", "Fusion", "NotFused", "fold", "fusible_nodes", "relu6_can_be_relu"]
