"""Bytes of the constants below a node, each counted once, without a set of them for every node."""

from __future__ import annotations

from calibrant.graph import nodes as nd
from calibrant.graph.pieces import stored_bytes
from calibrant.graph.tf_core import NodeDef


class ConstantBytes:
    """Nodes that depend on constants alone, and whether these constants have a number of bytes.

    Of every node two bounds are known: it has at least the bytes of any one node that it reads, and at most those of
    all of them together. Where the bounds do not decide, the nodes below are counted, as far as it takes.
    """

    def __init__(self) -> None:
        self._inputs: dict[str, tuple[str, ...]] = {}
        self._least: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._all = 0
        self.counted = 0
        """Nodes that were visited where the bounds did not decide."""

    def __contains__(self, name: str) -> bool:
        return name in self._inputs

    def add(self, node: NodeDef) -> None:
        """Add a Const, or a node that reads only nodes that were added."""
        read = tuple(dict.fromkeys(map(nd.node_name, node.input)))
        if read:
            self._least[node.name] = max(self._least[name] for name in read)
            self._most[node.name] = min(self._all, sum(self._most[name] for name in read))
        else:
            self._least[node.name] = self._most[node.name] = stored_bytes(node.attr["value"].tensor)
            self._all += self._least[node.name]
        self._inputs[node.name] = read

    def remove(self, name: str) -> None:
        """Take out a node that no other one of them reads."""
        del self._inputs[name], self._least[name], self._most[name]

    def reach(self, name: str, size: float) -> bool:
        """Whether the constants that a node depends on have at least so many bytes."""
        if self._least[name] < size <= self._most[name]:
            self._count(name, size)
        return size <= self._least[name]

    def _count(self, name: str, size: float) -> None:
        """Narrow the bounds of a node until they decide."""
        found, seen, waiting = 0, {name}, [name]
        while waiting and found < size:
            self.counted += 1
            current = waiting.pop()
            read = self._inputs[current]
            found += 0 if read else self._least[current]
            new = [each for each in read if each not in seen]
            seen.update(new)
            waiting += new
        self._least[name] = max(self._least[name], found)
        if found < size:
            self._most[name] = found
