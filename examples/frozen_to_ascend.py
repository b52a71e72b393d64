"""A frozen graph and a configuration file become a model for Ascend devices, which is then checked here.

Run: python examples/frozen_to_ascend.py [FOLDER]
"""

import sys
from pathlib import Path

import calibrant

digits = Path(__file__).parent / "digits"
folder = sys.argv[1] if len(sys.argv) > 1 else "out/frozen_to_ascend"
result = calibrant.quantize(
    digits / "digits.pb", digits / "quant.cfg", digits / "calibration.npz", folder, export="ascend"
)
print(result.summary)
verification = calibrant.verify(folder, digits / "test.npz")
print("the deployable model equals its simulation" if verification.passed else "the files differ")
