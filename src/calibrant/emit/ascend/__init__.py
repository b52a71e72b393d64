"""``NAME_quantized.pb``: the deployable model in the operator set of the Ascend graph compiler."""
