"""Models from factors that are there already: MODEL OUTPUT RECORD."""

import sys

import amct_tensorflow as amct

model, output, record = sys.argv[1:]
amct.convert_model(pb_model=model, outputs=[output], record_file=record, save_path="converted/net")
print("done")
