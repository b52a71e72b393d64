"""Compile every .proto under src/ to a serialized FileDescriptorSet (.desc) beside it; needs grpcio-tools.

The package reads the .desc files, which any protobuf runtime can do, and has no generated code.

    python tools/compile_protos.py            write the .desc files
    python tools/compile_protos.py --check    write nothing; exit code 1 if one of them is not up to date
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

SOURCES = Path(__file__).resolve().parent.parent / "src"


def compiled(proto: Path) -> FileDescriptorSet:
    """The descriptors of one .proto, named by its file name alone.

    protoc runs in a process of its own: its protobuf library and the one inside TensorFlow do not bear each other.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.desc"
        protoc = [sys.executable, "-m", "grpc_tools.protoc"]
        command = [*protoc, f"--proto_path={proto.parent}", f"--descriptor_set_out={result}", proto.name]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"protoc cannot compile {proto}")
        return FileDescriptorSet.FromString(result.read_bytes())


def up_to_date(proto: Path) -> bool:
    """Whether the .desc beside the .proto says the same as the .proto."""
    stored = proto.with_suffix(".desc")
    return stored.is_file() and FileDescriptorSet.FromString(stored.read_bytes()) == compiled(proto)


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    outdated = [proto for proto in sorted(SOURCES.rglob("*.proto")) if not up_to_date(proto)]
    for proto in outdated:
        if "--check" in arguments:
            print(f"{proto.with_suffix('.desc')} is not what {proto.name} compiles to")
        else:
            proto.with_suffix(".desc").write_bytes(compiled(proto).SerializeToString(deterministic=True))
            print(f"wrote {proto.with_suffix('.desc')}")
    return 1 if outdated and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
