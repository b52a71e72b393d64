"""``python -m calibrant.amct SCRIPT ARGS…``: run a script written for ``amct_tensorflow``, unmodified."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from calibrant.errors import CalibrantError

_USAGE = "usage: python -m calibrant.amct SCRIPT [ARGUMENTS of the script]"


def main() -> None:
    """Run the script; errors of calibrant are shown as one text with exit code 2, all others as Python shows them."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if len(sys.argv) > 1 else sys.stderr)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    script = Path(sys.argv[1])
    if not script.is_file():
        print(f"error: {script}: there is no such script\n{_USAGE}", file=sys.stderr)
        sys.exit(2)
    from calibrant.amct.old_names import scripts_environment

    sys.argv = sys.argv[1:]
    sys.path[0] = str(script.resolve().parent)
    try:
        with scripts_environment():
            runpy.run_path(str(script), run_name="__main__")
    except CalibrantError as error:
        print(error.report(), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
