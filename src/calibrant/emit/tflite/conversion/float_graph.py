"""The float graph as TensorFlow's converter takes it, with the numbers that the simulation has."""

from __future__ import annotations

from collections.abc import Mapping

from calibrant.emit.tflite.rewrites.channels_last import channels_last
from calibrant.emit.tflite.rewrites.complex_pairs import complex_as_pairs
from calibrant.emit.tflite.rewrites.complex_parts import complex_parts_as_products
from calibrant.emit.tflite.rewrites.dilated import as_dilated
from calibrant.emit.tflite.rewrites.early_activations import activate_images
from calibrant.emit.tflite.rewrites.filled import filled_as_numbers
from calibrant.emit.tflite.rewrites.float_kernels import powers_as_products, same_reciprocal_roots
from calibrant.emit.tflite.rewrites.gelu import halve_in_front_of_gelu
from calibrant.emit.tflite.rewrites.loop_constants import constants_in_turns
from calibrant.emit.tflite.rewrites.prelu import prelu_as_one_operator
from calibrant.emit.tflite.rewrites.replacements import replace_what_does_not_convert
from calibrant.emit.tflite.rewrites.tensor_arrays import arrays_as_lists
from calibrant.emit.tflite.rewrites.tensor_lists import elements_of_the_batch, fixed_batch, with_batch_of_lists
from calibrant.emit.tflite.rewrites.volume_convolutions import convolve_as_images
from calibrant.emit.tflite.settings import TfliteSettings
from calibrant.graph import nodes as nd
from calibrant.graph.graph import Edit, Graph
from calibrant.graph.inference.single_precision import in_single_precision
from calibrant.graph.sample_axis import inputs_with_samples


def float_graph(graph: Graph, settings: TfliteSettings, gelus: bool) -> tuple[Graph, Mapping[str, str]]:
    """The graph with operations that the converter knows; names of tensors stay.

    Parameters
    ----------
    gelus : bool
        Whether error functions stay that may be in a GELU.

    Returns
    -------
    tuple[Graph, Mapping[str, str]]
        The graph, and tensor → the tensor that has its numbers, with channels last where it has channels first, or as
        images where they are spread over a batch or are the layers of a volume.
    """
    graph = in_single_precision(graph)
    edit = graph.edit()
    settings = with_batch_of_lists(graph, settings)
    _set_shapes(edit, settings)
    edit = edit.finish().edit()
    batch = settings.batch or fixed_batch(edit.graph)
    _fold_constants(edit)
    while arrays_as_lists(edit, batch):
        edit = edit.finish().edit()
    elements_of_the_batch(edit, batch)
    edit = edit.finish().edit()
    halve_in_front_of_gelu(edit)
    edit = edit.finish().edit()
    complex_parts_as_products(edit)
    complex_as_pairs(edit)
    edit = edit.finish().edit()
    replace_what_does_not_convert(edit, gelus)
    filled_as_numbers(edit)
    edit = edit.finish().edit()
    powers_as_products(edit)
    edit = edit.finish().edit()
    dilated = as_dilated(edit)
    edit = edit.finish().edit()
    activated = activate_images(edit)
    edit = edit.finish().edit()
    twins = {**dilated, **activated, **channels_last(edit)}
    edit = edit.finish().edit()
    images = convolve_as_images(edit)
    twins = {**images, **{tensor: images.get(twin, twin) for tensor, twin in twins.items()}}
    edit = edit.finish().edit()
    prelu_as_one_operator(edit)
    if settings.ops == "layers":
        same_reciprocal_roots(edit)
    edit = edit.finish().edit()
    constants_in_turns(edit)
    return edit.finish(), twins


def _fold_constants(edit: Edit) -> None:
    """What is computed from constants becomes one: the converter gets weights behind some operations wrong."""
    graph = edit.graph
    for node in graph.nodes.values():
        if node.op == "Const" or node.name in graph.regions or graph.constant(f"{node.name}:0") is not None:
            continue  # in a loop, a constant of its own would belong to no turn
        for index, tensor in enumerate(nd.data_inputs(node)):
            value = graph.constant(tensor)
            if value is not None and graph.producer(tensor).op not in ("Const", "Identity"):
                name = f"{nd.input_reference(tensor).replace(':', '_')}/value"
                edit.set_input(node.name, index, f"{name}:0" if name in edit.nodes else edit.add_constant(name, value))


def _set_shapes(edit: Edit, settings: TfliteSettings) -> None:
    with_samples = inputs_with_samples(edit.graph)
    for at, (key, tensor) in enumerate(zip(edit.graph.input_keys, edit.graph.inputs, strict=True)):
        node = nd.copy_node(edit.nodes[nd.node_name(tensor)])
        shape = settings.shape_of(key, node.name)
        if node.op != "Placeholder":
            continue
        if shape is not None:
            nd.set_shape(node, shape)
        slot = node.attr["shape"].shape
        if settings.batch is not None and slot.dim and at in with_samples:
            slot.dim[0].size = settings.batch
        edit.put(node)
