"""The messages of the configuration file, read from the compiled ``calibration_config_tf.proto``.

The compiled file is a serialized ``FileDescriptorSet``, which every protobuf runtime reads; generated code would tie
the package to the version of protoc that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from google.protobuf import descriptor_pb2

ROOT = "AMCTConfig"
DESCRIPTOR_FILE = Path(__file__).with_name("calibration_config_tf.desc")

_SCALARS = {
    descriptor_pb2.FieldDescriptorProto.TYPE_UINT32: "uint32",
    descriptor_pb2.FieldDescriptorProto.TYPE_BOOL: "bool",
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING: "string",
    descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT: "float",
}


@dataclass(frozen=True)
class Field:
    """One field of a message; ``kind`` is a scalar's type, ``'message'`` or ``'enum'``, whose name ``type`` holds."""

    name: str
    kind: str
    type: str
    repeated: bool = False
    required: bool = False
    oneof: str | None = None
    members: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Message:
    """One message: its fields by name, in the order of the file."""

    name: str
    fields: Mapping[str, Field]


@lru_cache(maxsize=1)
def messages() -> Mapping[str, Message]:
    """Every message of the configuration file, by its name without the package."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_FILE.read_bytes())
    (file,) = files.file
    enums = {enum.name: tuple((value.name, value.number) for value in enum.value) for enum in file.enum_type}
    return {message.name: Message(message.name, _fields(message, enums)) for message in file.message_type}


def _fields(message: descriptor_pb2.DescriptorProto, enums: Mapping[str, tuple]) -> dict[str, Field]:
    fields = {}
    for field in message.field:
        type_name = field.type_name.rpartition(".")[2]
        kind = _SCALARS.get(field.type) or ("enum" if type_name in enums else "message")
        fields[field.name] = Field(
            name=field.name,
            kind=kind,
            type=type_name or kind,
            repeated=field.label == field.LABEL_REPEATED,
            required=field.label == field.LABEL_REQUIRED,
            oneof=message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
            members=enums.get(type_name, ()),
        )
    return fields
