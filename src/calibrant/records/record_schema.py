"""The protobuf message of a record file, built at run time from the compiled ``record.proto``.

Every protobuf runtime reads a serialized descriptor set; generated code would check the runtime's version.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message


@cache
def record_message() -> type[Message]:
    """The class of ScaleOffsetRecord, in a descriptor pool of its own."""
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("record.desc").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("calibrant.ScaleOffsetRecord"))
