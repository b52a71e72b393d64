"""What each setting of the configuration costs on two real models: one table.

    python bench/fields.py [--shared ../shared/real] [--only resnet8]

Calibrated on 64 samples, tested on others; ``agree`` is the share of samples with the float model's answer, ``SQNR``
the signal-to-noise ratio of the outputs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from real_models import CASES, Case, data_of, percent

import calibrant
from calibrant.cli.show import table

BATCHES = 4
SETTINGS = {
    "defaults (IFMR, 8 bits, per channel)": "",
    "IFMR, symmetric": "activation_offset : false",
    "HFMG, 1024 bins": "common_config { hfmg_quantize { num_of_bins : 1024 } }",
    "HFMG, 2048 bins": "common_config { hfmg_quantize { num_of_bins : 2048 } }",
    "HFMG, 4096 bins": "common_config { hfmg_quantize { num_of_bins : 4096 } }",
    "HFMG, 8192 bins": "common_config { hfmg_quantize { num_of_bins : 8192 } }",
    "weights per tensor": "common_config { arq_quantize { channel_wise : false } }",
    "weights 7 bits": "common_config { arq_quantize { quant_bits : 7 } }",
    "weights 6 bits": "common_config { arq_quantize { quant_bits : 6 } }",
    "weights per tensor, 7 bits": "common_config { arq_quantize { channel_wise : false quant_bits : 7 } }",
    "weights per tensor, 6 bits": "common_config { arq_quantize { channel_wise : false quant_bits : 6 } }",
    "NUQ, 32 levels": "common_config { nuq_quantize { num_steps : 32 } }",
    "NUQ, 16 levels": "common_config { nuq_quantize { num_steps : 16 } }",
    "NUQ, 16 levels, no iteration": "common_config { nuq_quantize { num_steps : 16 num_of_iteration : 0 } }",
    "joint_quant": "joint_quant : true",
    "FORCE_FP16_QUANT": "fakequant_precision_mode : FORCE_FP16_QUANT",
    "DMQ balancer, 0.5": "common_config { dmq_balancer { migration_strength : 0.5 } }",
    "no fusion": "do_fusion : false",
}
MODELS = ("resnet8 .pb", "ds_cnn .pb")


def rows(case: Case, shared: Path) -> Iterator[tuple[object, ...]]:
    """One row for each setting, in the order of the table above."""
    test, labels = data_of(shared, case.test), str(shared / case.labels)
    for name, settings in SETTINGS.items():
        result = calibrant.quantize(
            str(shared / case.model), f"batch_num : {BATCHES}\n{settings}", data_of(shared, case.calibration)
        )
        before, after = calibrant.evaluate([result.original, result.fakequant], test, labels)
        if name == next(iter(SETTINGS)):
            yield case.name, "float", percent(before.top1), None, None, None
        lost = f"{100 * (before.top1 - after.top1):+.2f}"
        yield case.name, name, percent(after.top1), lost, percent(after.agreement), f"{after.sqnr_db:.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared" / "real")
    parser.add_argument("--only", default="", help="only the models whose name contains this")
    arguments = parser.parse_args()
    if not arguments.shared.is_dir():
        raise SystemExit(f"{arguments.shared}: there are no real models; give their folder with --shared")
    chosen = [case for case in CASES if case.name in MODELS and arguments.only in case.name]
    columns = ("model", "setting", "accuracy %", "lost", "agree %", "SQNR dB")
    table("what each setting costs", columns, [row for case in chosen for row in rows(case, arguments.shared)])


if __name__ == "__main__":
    main()
