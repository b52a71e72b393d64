"""``calibrant lower``."""

import numpy as np
import pytest

import calibrant
from calibrant.graph.reading.load import load
from calibrant.graph.running.run import run_once
from command_line import run, tree
from graphs import graph_def, numbers, save, small_network, weights_in_a_loop


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lower")
    save(graph_def(small_network), folder / "net.pb")
    calibrant.quantize(folder / "net.pb", data=numbers(16, 6, 6, 2), out=folder / "out", export="ascend")
    return folder


def test_writes_stock_operations_with_the_numbers_of_the_simulation(folder, tmp_path):
    done = run("lower", folder / "out" / "net_quantized.pb", "--out", tmp_path / "new" / "lowered.pb")
    assert done.code == 0 and "lowered.pb" in done.out, done.err
    lowered = load(tmp_path / "new" / "lowered.pb")
    assert not any(node.op.startswith("Ascend") for node in lowered.nodes.values())
    batch = {"x": numbers(5, 6, 6, 2, seed=3)}
    simulated = load(folder / "out" / "net_fakequant.pb")
    np.testing.assert_array_equal(run_once(lowered, batch)[0], run_once(simulated, batch)[0])


def test_other_files_beside_the_result_stay(folder, tmp_path):
    (tmp_path / "kept.txt").write_text("kept")
    assert run("-q", "lower", folder / "out" / "net_quantized.pb", "--out", tmp_path / "lowered.pb").out == ""
    assert set(tree(tmp_path)) == {"kept.txt", "lowered.pb"}


def test_evaluate_and_inspect_read_the_deployable_file_itself(folder, tmp_path):
    np.savez(tmp_path / "test.npz", x=numbers(20, 6, 6, 2, seed=4), y=np.zeros(20, int))
    models = [folder / "out" / f"net_{kind}.pb" for kind in ("fakequant", "quantized")]
    done = run("-q", "evaluate", *models, "--data", f"{tmp_path}/test.npz:x", "--labels", f"{tmp_path}/test.npz:y")
    assert done.code == 0 and "100.00 %" in done.out, done.err
    assert run("inspect", models[1]).code == 0


def test_a_float_graph_is_refused(folder, tmp_path):
    done = run("lower", folder / "net.pb", "--out", tmp_path / "lowered.pb")
    assert done.code == 2 and "holds none of the operators" in done.err and "AscendQuant" in done.err
    assert tree(tmp_path) == {}


def test_weights_in_loops_alone_leave_nothing_to_lower(tmp_path):
    model = save(graph_def(weights_in_a_loop), tmp_path / "loop.pb")
    data = numbers(8, 3)
    calibrant.quantize(model, data=data, out=tmp_path / "out", outputs="out", export="ascend")
    file, copied = tmp_path / "out" / "loop_quantized.pb", tmp_path / "lowered.pb"
    done = run("lower", file, "--out", copied, "--outputs", "out")
    assert done.code == 0 and "nothing had to be lowered" in done.out, done.err
    np.testing.assert_array_equal(*(run_once(load(path, outputs="out"), {"x": data})[0] for path in (file, copied)))


@pytest.mark.parametrize("content", [b"", b"AscendQuant", b"\x0a\xff\xff\xff"], ids=["empty", "text", "cut"])
def test_damaged_files_are_refused(content, tmp_path):
    (tmp_path / "bad.pb").write_bytes(content)
    done = run("lower", tmp_path / "bad.pb", "--out", tmp_path / "lowered.pb")
    assert done.code == 2 and "bad.pb" in done.err and "Traceback" not in done.err
    assert set(tree(tmp_path)) == {"bad.pb"}


def test_a_file_that_is_cut_short(folder, tmp_path):
    content = (folder / "out" / "net_quantized.pb").read_bytes()
    for length in range(len(content) // 7, len(content), len(content) // 7):
        (tmp_path / "bad.pb").write_bytes(content[:length])
        done = run("lower", tmp_path / "bad.pb", "--out", tmp_path / "lowered.pb")
        assert done.code == 2 and "bad.pb" in done.err, (length, done)


def test_no_file_and_no_out(tmp_path):
    assert run("lower", tmp_path / "none.pb", "--out", tmp_path / "x.pb").code == 2
    assert run("lower", tmp_path / "none.pb").code == 2
