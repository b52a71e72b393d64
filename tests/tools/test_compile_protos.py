"""The committed .desc files are what the .proto files beside them compile to."""

import importlib.util

import pytest

pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, which is not installed")


@pytest.fixture(scope="module")
def compile_protos(repository):
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("compile_protos", repository / "tools" / "compile_protos.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_schema_is_compiled_and_up_to_date(compile_protos):
    protos = sorted(compile_protos.SOURCES.rglob("*.proto"))
    assert "record.proto" in [proto.name for proto in protos]
    assert [proto.name for proto in protos if not compile_protos.up_to_date(proto)] == []


def test_an_outdated_file_is_noticed_and_written(compile_protos, tmp_path, monkeypatch, capsys):
    proto = tmp_path / "a.proto"
    proto.write_text('syntax = "proto2"; message A { optional int32 b = 1; }')
    monkeypatch.setattr(compile_protos, "SOURCES", tmp_path)
    assert compile_protos.main(["--check"]) == 1
    assert compile_protos.main([]) == 0
    assert compile_protos.main(["--check"]) == 0
    proto.write_text('syntax = "proto2"; message A { optional int32 b = 2; }')
    assert compile_protos.main(["--check"]) == 1
    assert "a.desc" in capsys.readouterr().out


def test_a_schema_with_a_mistake_is_refused(compile_protos, tmp_path, capfd):
    proto = tmp_path / "a.proto"
    proto.write_text("message {")
    with pytest.raises(SystemExit, match="a.proto"):
        compile_protos.compiled(proto)
    assert "a.proto:1" in capfd.readouterr().err
