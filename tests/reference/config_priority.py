"""The settings of one layer, asked for one at a time in the words of the configuration file's documentation."""


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


def activation(configuration, layer):
    """(where it came from, algorithm, its numbers by name)."""
    numbers = {
        "search_range_start": 0.7,
        "search_range_end": 1.3,
        "search_step": 0.01,
        "max_percentile": 0.999999,
        "min_percentile": 0.999999,
    }
    for place, config in places(configuration, layer):
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
    own = configuration.nuq_config.nuq_quantize if configuration.nuq_config else None
    for place, config in places(configuration, layer):
        is_override_of_layer = place.startswith("override_layer_configs")
        if (
            layer.name in nuq_layers
            and not is_override_of_layer
            and (own is not None or config.arq_quantize is not None)
        ):
            break
        if config.arq_quantize is not None:
            per_channel = layer.has_channels
            if config.arq_quantize.channel_wise is False:
                per_channel = False
            bits = 8
            if config.arq_quantize.quant_bits is not None and layer.type == "Conv2D":
                bits = config.arq_quantize.quant_bits
            return place, "arq", per_channel, bits, None, None
        if config.nuq_quantize is not None:
            return place, "nuq", layer.has_channels, 8, *_steps(config.nuq_quantize)
    if layer.name in nuq_layers:
        return "nuq_config", "nuq", layer.has_channels, 8, *_steps(own)
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
    for _, config in places(configuration, layer):
        if config.dmq_balancer is not None:
            return 0.5 if config.dmq_balancer.migration_strength is None else config.dmq_balancer.migration_strength
    return None
