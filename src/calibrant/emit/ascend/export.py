"""The files for Ascend devices."""

from __future__ import annotations

from calibrant.emit.ascend.model import ascend_model
from calibrant.emit.ascend.node_map import ascend_node_map
from calibrant.emit.exportable import Exportable, Exported
from calibrant.emit.graph_file import graph_file
from calibrant.emit.large_model import require_one_file
from calibrant.file_endings import ASCEND, NODE_MAP


def ascend_export(source: Exportable) -> Exported:
    """The deployable model and its node map.

    Raises
    ------
    CalibrantError
        The model needs more than one file, or has what the devices cannot hold.
    """
    made = ascend_model(source.network)
    require_one_file(made.graph, f"{source.name}{ASCEND}")
    node_map = ascend_node_map(made, source.network, source.original, source.absorbed)
    return Exported({f"{source.name}{ASCEND}": graph_file(made.graph), f"{source.name}{NODE_MAP}": node_map.encode()})
