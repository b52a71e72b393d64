"""Models from a network that was trained for quantization: MODEL OUTPUT."""

import sys

import amct_tensorflow as amct

amct.convert_qat_model(sys.argv[1], [sys.argv[2]], "trained/net", record_file="trained/record.txt")
print("done")
