"""Folding: norms, scalar factors and biases go into layers before anything is observed.

Folding follows each layer along the nodes that read nothing else. Each fusion recognises one kind of node and says what
it does to a channel, or that it leaves channels unchanged. Together they become one factor for the weights and one
BiasAdd, so fusions apply to each other's results in any order.
"""

from calibrant.fold.folding import fold
from calibrant.fold.fusible import fusible_nodes
from calibrant.fold.result import Folded, Fusion, NotFused

__all__ = ["Folded", "Fusion", "NotFused", "fold", "fusible_nodes"]
