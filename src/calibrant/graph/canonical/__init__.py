"""Products of matrices in the one form that the table of layers knows; the same function in every float.

Einsum becomes MatMul or BatchMatMul; a transposed constant is written down transposed; a constant first operand
becomes the second. The product keeps the name of the node that it was, so that a configuration, a report and a
record speak of the user's node. Where the result has to be rearranged afterwards, the readers read ``NAME/result``.
"""

from calibrant.graph.canonical.canonicalize import Canonical, canonicalize

__all__ = ["Canonical", "canonicalize"]
