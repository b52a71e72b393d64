"""The settings of one layer, asked for one at a time in the words of the configuration file's documentation."""

PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
BALANCED = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", *PRODUCTS)


def places(configuration, layer):
    """(name of the place, its CalibrationConfig) from the strongest to the weakest."""
    found = []
    for index in range(len(configuration.override_layer_configs)):
        if configuration.override_layer_configs[index].layer_name == layer.name:
            found.append(
                (f"override_layer_configs[{index}]", configuration.override_layer_configs[index].calibration_config)
            )
    for index in range(len(configuration.override_layer_types)):
        if configuration.override_layer_types[index].layer_type == layer.type:
            found.append(
                (f"override_layer_types[{index}]", configuration.override_layer_types[index].calibration_config)
            )
    if configuration.common_config is not None:
        found.append(("common_config", configuration.common_config))
    return found


def entry(configuration, layer):
    """The one place that is taken whole, or None."""
    found = places(configuration, layer)
    return found[0] if found else None


def is_quantized(configuration, layer):
    if layer.name in configuration.skip_layers:
        return False
    return layer.type not in configuration.skip_layer_types


def asymmetric(configuration, layer):
    if layer.dynamic:
        return False
    for _, config in places(configuration, layer):
        if config.ifmr_quantize is not None and config.ifmr_quantize.asymmetric is not None:
            return config.ifmr_quantize.asymmetric
        if config.hfmg_quantize is not None and config.hfmg_quantize.asymmetric is not None:
            return config.hfmg_quantize.asymmetric
    if configuration.activation_offset is not None:
        return configuration.activation_offset
    return True


def tensor_asymmetric(configuration, tensor):
    for holder in (tensor, configuration.common_config):
        if holder is None:
            continue
        if holder.ifmr_quantize is not None and holder.ifmr_quantize.asymmetric is not None:
            return holder.ifmr_quantize.asymmetric
        if holder.hfmg_quantize is not None and holder.hfmg_quantize.asymmetric is not None:
            return holder.hfmg_quantize.asymmetric
    if configuration.activation_offset is not None:
        return configuration.activation_offset
    return True


def activation(configuration, layer):
    """(where it came from, algorithm, its numbers by name)."""
    numbers = {
        "search_range_start": 0.7,
        "search_range_end": 1.3,
        "search_step": 0.01,
        "max_percentile": 0.999999,
        "min_percentile": 0.999999,
    }
    chosen = entry(configuration, layer)
    if chosen is not None:
        place, config = chosen
        if config.ifmr_quantize is not None:
            for name in numbers:
                if getattr(config.ifmr_quantize, name) is not None:
                    numbers[name] = getattr(config.ifmr_quantize, name)
            return place, "ifmr", numbers
        if config.hfmg_quantize is not None:
            bins = config.hfmg_quantize.num_of_bins
            return place, "hfmg", {"num_of_bins": 4096 if bins is None else bins}
    return "default", "ifmr", numbers


def weights(configuration, layer, nuq_layers):
    """(where it came from, algorithm, per channel, bits, num_steps, num_of_iteration), or None without weights."""
    if not layer.has_weights:
        return None
    place, config = entry(configuration, layer) or ("default", None)
    arq = None if config is None else config.arq_quantize
    nuq = None if config is None else config.nuq_quantize
    if layer.name in nuq_layers:
        own = configuration.nuq_config.nuq_quantize
        set_by_the_layer = place.startswith("override_layer_configs") and (arq is not None or nuq is not None)
        kept = own is None and nuq is not None
        if not set_by_the_layer and not kept:
            return "nuq_config", "nuq", layer.has_channels, 8, *_steps(own)
    if arq is not None:
        per_channel = layer.has_channels
        if arq.channel_wise is False:
            per_channel = False
        bits = 8
        if arq.quant_bits is not None and layer.type == "Conv2D":
            bits = arq.quant_bits
        return place, "arq", per_channel, bits, None, None
    if nuq is not None:
        return place, "nuq", layer.has_channels, 8, *_steps(nuq)
    return "default", "arq", layer.has_channels, 8, None, None


def _steps(nuq):
    steps, iterations = 32, 1
    if nuq is not None and nuq.num_steps is not None:
        steps = nuq.num_steps
    if nuq is not None and nuq.num_of_iteration is not None:
        iterations = nuq.num_of_iteration
    return steps, iterations


def migration_strength(configuration, layer):
    if not layer.has_weights:
        return None
    if layer.type not in BALANCED:
        return None
    if layer.type in ("DepthwiseConv2dNative", "Conv2DBackpropInput") and layer.dilated:
        return None
    chosen = entry(configuration, layer)
    if chosen is None or chosen[1].dmq_balancer is None:
        return None
    strength = chosen[1].dmq_balancer.migration_strength
    return 0.5 if strength is None else strength


def left_out(configuration, layer):
    """Blocks that common_config has and the chosen entry lacks, where they would act on the layer."""
    chosen, common = entry(configuration, layer), configuration.common_config
    if common is None or chosen[0] == "common_config":
        return set()
    found = set()
    if layer.has_weights and chosen[1].arq_quantize is None and chosen[1].nuq_quantize is None:
        found |= {name for name in ("arq_quantize", "nuq_quantize") if getattr(common, name) is not None}
    if chosen[1].ifmr_quantize is None and chosen[1].hfmg_quantize is None:
        found |= {name for name in ("ifmr_quantize", "hfmg_quantize") if getattr(common, name) is not None}
    can = layer.has_weights and layer.type in BALANCED and not layer.dilated
    if can and chosen[1].dmq_balancer is None and common.dmq_balancer:
        found.add("dmq_balancer")
    return found
