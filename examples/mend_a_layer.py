"""A configuration clips one layer: the report names it, and the block that it proposes mends it.

Run: python examples/mend_a_layer.py [FOLDER]
"""

import sys
from pathlib import Path

import calibrant

digits = Path(__file__).parent / "digits"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/mend_a_layer")
clipped = """\
override_layer_configs {
    layer_name : "digits_1/conv4_1/convolution"
    calibration_config {
        ifmr_quantize { max_percentile : 0.6 search_range_start : 0.99 search_range_end : 1.01 }
    }
}
"""
bad = "batch_num : 4\n" + clipped


def quantized(config: str, name: str) -> calibrant.Result:
    """One run with its own folder."""
    result = calibrant.quantize(digits / "digits.pb", config, digits / "calibration.npz", folder / name)
    print(f"{name}: {result.report['verdict']}")
    return result


worst = quantized(bad, "before").report["findings"][0]
print(f"{worst['layer']}: {worst['what']} {worst['advice']} (+{worst['gain_db']} dB)")
print(f"the proposed block goes in the place of {worst['replaces']}")
quantized(bad.replace(clipped, worst["block"]), "after")
print(f"next: calibrant compare {folder / 'before'} {folder / 'after'}")
