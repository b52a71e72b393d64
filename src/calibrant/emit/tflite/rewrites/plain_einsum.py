"""An Einsum that is no product of matrices, as products of elements and sums.

The converter has no operator for most of them, and makes a product of matrices that does not run, or is another, of a
constant that only multiplies elements.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrant.graph import nodes as nd
from calibrant.graph.canonical.einsum import Labels, read_terms
from calibrant.graph.graph import Edit
from calibrant.graph.tf_core import NodeDef, dtypes


def einsum_as_sums(edit: Edit, node: NodeDef) -> None:
    """Put its operands side by side, one axis a label, multiply them, and add up what is not in the result."""
    terms = read_terms(edit.graph, node)
    if isinstance(terms, str):
        return
    operands, result = terms
    if len(set(result)) < len(result) or nd.attribute(node, "T") != dtypes.float32:
        return
    everything = dict.fromkeys(label for term in operands for label in term)
    summed = [label for label in everything if label not in result and sum(label in term for term in operands) > 1]
    alone = any(label not in result and label not in summed for label in everything)
    if summed and not alone and all(len(set(term)) == len(term) for term in operands):
        return  # a product of matrices, which the converter makes of it
    arranged = []
    for number, (tensor, term) in enumerate(zip(nd.data_inputs(node), operands, strict=True)):
        operand = _Operand(edit, node, f"{node.name}/{number}", tensor, term)
        if not operand.take_diagonals():
            return
        operand.arrange((*result, *summed))
        arranged.append(operand.tensor)
    made = arranged[0]
    for other in arranged[1:]:
        made = edit.add("Mul", f"{node.name}/product", [made, other], T=node.attr["T"])
    if summed:
        made = _sum(edit, node, f"{node.name}/sum", made, range(len(result), len(result) + len(summed)))
    edit.put(nd.make_node("Identity", node.name, [made, *nd.control_references(node)], T=node.attr["T"]))


class _Operand:
    """One operand on its way to the axes of the product."""

    def __init__(self, edit: Edit, node: NodeDef, name: str, tensor: str, term: Labels):
        self.tensor, self.term = tensor, term
        self._edit, self._node, self._name = edit, node, name

    def take_diagonals(self) -> bool:
        """Keep what is equal in all axes of one label, in the first; False where their size is not known."""
        shape = self._edit.graph.shape(self.tensor) or ()
        while repeated := [axis for axis, label in enumerate(self.term) if label in self.term[:axis]]:
            axis = repeated[0]
            size, first = shape[axis], self.term.index(self.term[axis])
            if size is None:
                return False
            alike = [size if at in (first, axis) else 1 for at in range(len(self.term))]
            ones = self._edit.add_constant(f"{self._name}/diagonal", np.eye(size, dtype=np.float32).reshape(alike))
            product = self._edit.add("Mul", f"{self._name}/on_diagonal", [self.tensor, ones], T=self._node.attr["T"])
            self.tensor = _sum(self._edit, self._node, f"{self._name}/diagonals", product, [axis])
            self.term, shape = (*self.term[:axis], *self.term[axis + 1 :]), (*shape[:axis], *shape[axis + 1 :])
        return True

    def arrange(self, labels: Sequence[str]) -> None:
        """Add up what no label names, and let the axes follow the labels, with size 1 where it has none."""
        lone = [axis for axis, label in enumerate(self.term) if label not in labels]
        if lone:
            self.tensor = _sum(self._edit, self._node, f"{self._name}/sums", self.tensor, lone)
        there = [label for label in self.term if label in labels]
        order = [there.index(label) for label in labels if label in there]
        if order != sorted(order):
            axes = self._edit.add_constant(f"{self._name}/order", np.array(order, np.int32))
            kinds = {"T": self._node.attr["T"], "Tperm": dtypes.int32}
            self.tensor = self._edit.add("Transpose", f"{self._name}/transposed", [self.tensor, axes], **kinds)
        for axis, label in enumerate(labels):
            if label not in there:
                place = self._edit.add_constant(f"{self._name}/axis", np.int32(axis))
                kinds = {"T": self._node.attr["T"], "Tdim": dtypes.int32}
                self.tensor = self._edit.add("ExpandDims", f"{self._name}/wide", [self.tensor, place], **kinds)


def _sum(edit: Edit, node: NodeDef, name: str, tensor: str, axes: Sequence[int]) -> str:
    chosen = edit.add_constant(f"{name}/axes", np.array(axes, np.int32))
    return edit.add("Sum", name, [tensor, chosen], T=node.attr["T"], Tidx=dtypes.int32, keep_dims=False)
