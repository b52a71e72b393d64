"""States as files: whole or refused, never counted twice, small however much was observed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrant.algorithms.channel_extremes import ChannelMaximum
from calibrant.algorithms.histogram import Histogram
from calibrant.algorithms.patch_mean import ConvAxis, PatchGeometry, PatchMean
from calibrant.calibration.state import State, batch_digest, fingerprint
from calibrant.errors import DataError, OutputError
from calibrant.graph.reading.load import load
from graphs import graph_def, numbers, small_network


def statistics():
    windows = (ConvAxis(3, padding="SAME"), ConvAxis(3, padding="SAME"))
    return {"relu:0": [Histogram(), PatchMean(PatchGeometry(-1, (1, 2), windows))], "x:0": [ChannelMaximum()]}


def state_of(numbers_of_batches):
    state = State("fingerprint", statistics())
    for number in numbers_of_batches:
        for wanted in state.statistics.values():
            for statistic in wanted:
                statistic.update(numbers(2, 6, 6, 3, seed=number))
        state.batches.add((number, f"digest {number}"))
    return state


def content(state):
    flat = [statistic for wanted in state.statistics.values() for statistic in wanted]
    return [{name: array.tobytes() for name, array in statistic.to_arrays().items()} for statistic in flat]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=4), st.randoms())
def test_parts_in_any_order_are_the_whole(tmp_path_factory, parts, random):
    folder = tmp_path_factory.mktemp("parts")
    taken = set()
    parts = [[n for n in part if n not in taken and not taken.add(n)] for part in parts]
    for index, part in enumerate(parts):
        state_of(part).save(folder / f"{index}.npz")
    order = list(range(len(parts)))
    random.shuffle(order)
    merged = State("fingerprint", statistics())
    for index in order:
        merged.merge_from(folder / f"{index}.npz")
    whole = state_of(sorted(taken))
    assert merged.batches == whole.batches
    assert content(merged) == content(whole)


def test_the_same_state_is_the_same_file(tmp_path):
    for name, order in (("a", [1, 2, 3]), ("b", [3, 1, 2])):
        state_of(order).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_batch_never_counts_twice(tmp_path):
    state_of([1, 2]).save(tmp_path / "first")
    with pytest.raises(DataError, match=r"second: batch 2 is in this file and in another") as raised:
        state = state_of([2, 3])
        state.save(tmp_path / "second")
        merged = State("fingerprint", statistics())
        merged.merge_from(tmp_path / "first")
        merged.merge_from(tmp_path / "second")
    assert raised.value.problems[0].hint


def test_batches_of_different_sizes_do_not_merge(tmp_path):
    for name, first, offered in (("halves", 0, 2), ("quarters", 2, 4)):
        state = state_of([first, first + 1])
        state.offered = offered
        state.save(tmp_path / name)
    merged = State("fingerprint", statistics())
    merged.merge_from(tmp_path / "halves")
    with pytest.raises(DataError, match="quarters: was observed on data of 4 batches, .* on 2") as raised:
        merged.merge_from(tmp_path / "quarters")
    assert "--batch-size" in raised.value.problems[0].hint


def test_data_in_parts_of_different_sizes_merge(tmp_path):
    merged = State("fingerprint", statistics())
    for name, count in (("small", 1), ("large", 3)):
        state = state_of([])
        state.batches = {(number, f"{name} {number}") for number in range(count)}
        state.offered = count
        state.save(tmp_path / name)
        merged.merge_from(tmp_path / name)
    assert len(merged.batches) == 4


def test_states_of_something_else_are_refused(tmp_path):
    state_of([1]).save(tmp_path / "state")
    with pytest.raises(DataError, match="another model, or a configuration"):
        State("other", statistics()).merge_from(tmp_path / "state")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_files_that_are_cut_short_are_refused(tmp_path, keep):
    path = tmp_path / "state"
    state_of([1]).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if keep > 1 else int(keep * len(whole))])
    with pytest.raises(DataError, match="not a whole calibration state"):
        State("fingerprint", statistics()).merge_from(path)


@pytest.mark.parametrize(("place", "bits"), [(6, 1), (8, 99)])
def test_files_with_damaged_headers_are_refused(tmp_path, place, bits):
    """Said to be encrypted, or packed in a way that nobody knows."""
    path = tmp_path / "state"
    state_of([1]).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + place] = bits
    content[content.index(b"PK\x01\x02") + place + 2] = bits
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a whole calibration state"):
        State("fingerprint", statistics()).merge_from(path)


def test_files_with_missing_or_foreign_arrays_are_refused(tmp_path):
    state_of([1]).save(tmp_path / "state")
    arrays = dict(np.load(tmp_path / "state"))
    del arrays["0.counts"]
    np.savez(tmp_path / "damaged.npz", **arrays)
    np.savez(tmp_path / "foreign.npz", x=numbers(3))
    for name in ("damaged.npz", "foreign.npz", "absent.npz"):
        with pytest.raises(DataError, match=name):
            State("fingerprint", statistics()).merge_from(tmp_path / name)


@pytest.mark.parametrize(
    "changed",
    [
        {"batches_offered": np.array([3, 3])},
        {"batches_offered": np.array(-1)},
        {"batches_offered": np.array(2.5)},
        {"batches_offered": np.array("3")},
        {"batch_numbers": np.array(["1", "2"])},
        {"batch_numbers": np.array([[1, 2], [1, 2]])},
        {"batch_numbers": np.array([-1, 2])},
        {"batch_numbers": np.array([1])},
        {"batch_numbers": np.array(1)},
        {"batch_digests": np.array([1, 2])},
        {"batch_digests": np.array([["a", "b"]])},
    ],
)
def test_batches_that_are_none_are_refused(tmp_path, changed):
    state_of([1, 2]).save(tmp_path / "state")
    np.savez(tmp_path / "changed.npz", **{**np.load(tmp_path / "state"), **changed})
    with pytest.raises(DataError, match=r"changed\.npz: is not a whole calibration state \(.*batch"):
        State("fingerprint", statistics()).merge_from(tmp_path / "changed.npz")


@pytest.mark.parametrize("change", [{"batches_offered": np.array(2**62)}, {"batch_numbers": np.array([1, 2**62])}])
def test_numbers_that_no_data_have_take_no_memory(tmp_path, change):
    state_of([1, 2]).save(tmp_path / "state")
    np.savez(tmp_path / "changed.npz", **{**np.load(tmp_path / "state"), **change})
    state = State("fingerprint", statistics())
    state.merge_from(tmp_path / "changed.npz")
    count, first = state.missing(3)
    assert count > 2**62 - 3 and first[0] == 0 and len(first) == 3


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state"
    state_of([1]).save(path)
    before = path.read_bytes()

    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        state_of([1, 2]).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_the_size_does_not_grow_with_what_was_observed(tmp_path):
    sizes = []
    histogram = Histogram()
    for count in (4, 400):
        for number in range(count):
            histogram.update(numbers(500, seed=number))
        State("", {"x:0": [histogram]}).save(tmp_path / "state")
        sizes.append((tmp_path / "state").stat().st_size)
    assert max(sizes) < 700_000  # 2 signs of 24 octaves of 1024 bins could be 1.2 MB, tails are 32 KB


def test_fingerprints_tell_graphs_and_statistics_apart():
    graph = load(graph_def(small_network))
    wanted = {"relu:0": [Histogram()]}
    same = fingerprint(load(graph_def(small_network)), {"relu:0": [Histogram()]})
    assert fingerprint(graph, wanted) == same
    edit = graph.edit()
    edit.add_constant("dense/other", numbers(4))
    edit.set_input("dense/bias", 1, edit.add_constant("dense/new", numbers(3, seed=9)))
    others = [
        fingerprint(edit.finish(), wanted),
        fingerprint(graph, {"relu:0": [ChannelMaximum()]}),
        fingerprint(graph, {"relu:0": [ChannelMaximum(1)]}),
        fingerprint(graph, {"pool:0": [Histogram()]}),
        fingerprint(graph, {"relu:0": [Histogram(), ChannelMaximum()]}),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_digests_of_batches_see_names_types_shapes_and_values():
    x = np.zeros((2, 3), np.float32)
    batches = [{"x": x}, {"y": x}, {"x": x.astype(np.int32)}, {"x": x.reshape(3, 2)}, {"x": x + 1}, {"x": x, "y": x}]
    assert len({batch_digest(batch) for batch in batches}) == len(batches)
    assert batch_digest({"x": x, "y": x + 1}) == batch_digest({"y": x + 1, "x": x})
