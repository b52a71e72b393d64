"""Balance factors channel by channel, with plain floats."""

EPSILON = 2.0**-23


def inside(factor):
    return min(max(factor, EPSILON * (1 + 2.0**-23)), (1 - 2.0**-24) / EPSILON)


def balance_factors(activations, weights, strength):
    pairs = list(zip(activations, weights, strict=True))
    zero_activation = EPSILON * max((a for a, _ in pairs), default=0)
    zero_weight = EPSILON * max((w for _, w in pairs), default=0)
    factors = {
        channel: inside(a**strength / w ** (1 - strength))
        for channel, (a, w) in enumerate(pairs)
        if a > zero_activation and w > zero_weight
    }
    widest_activation = max((pairs[channel][0] / factor for channel, factor in factors.items()), default=None)
    widest_weight = max((pairs[channel][1] * factor for channel, factor in factors.items()), default=None)
    result = []
    for channel, (a, w) in enumerate(pairs):
        if channel in factors:
            result.append(factors[channel])
        elif widest_activation is None or (a <= zero_activation and w <= zero_weight):
            result.append(1.0)
        elif a > zero_activation:
            result.append(inside(a / widest_activation))
        else:
            result.append(inside(widest_weight / w))
    return result
