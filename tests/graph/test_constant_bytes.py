"""Whether the constants below a node have a number of bytes, against sets of them; and how many nodes that visits."""

import numpy as np
import pytest

from calibrant.graph import nodes as nd
from calibrant.graph.constant_bytes import ConstantBytes


def sum_of(name, *inputs):
    return nd.make_node("AddN", name, inputs)


def bytes_of(name, size):
    return nd.constant_node(name, np.zeros(size, np.int8))


def chain(length):
    """A large constant, and sums of what is before with a small one."""
    yield bytes_of("sum0", 1000)
    for number in range(length):
        yield bytes_of(f"small{number}", 2)
        yield sum_of(f"sum{number + 1}", f"sum{number}", f"small{number}")


def of(nodes):
    constants = ConstantBytes()
    for node in nodes:
        constants.add(node)
    return constants


@pytest.mark.parametrize("seed", range(20))
def test_counts_each_constant_once(seed):
    random = np.random.default_rng(seed)
    constants, below = ConstantBytes(), {}
    for number in range(30):
        name = str(number)
        if number < 5 or random.random() < 0.2:
            constants.add(bytes_of(name, number + 2))
            below[name] = {number}
        else:
            read = [str(each) for each in random.integers(number, size=2)]
            constants.add(sum_of(name, *read))
            below[name] = set().union(*(below[each] for each in read))
        whole = sum(each + 2 for each in below[name])
        assert [constants.reach(name, size) for size in (whole // 2, whole, whole + 1)] == [True, True, False]


def test_what_is_far_from_its_constants_is_decided_without_a_visit():
    constants = of(chain(1000))
    for number in range(1, 1001):
        assert constants.reach(f"sum{number}", 1000)
        assert not constants.reach(f"sum{number}", 4000)
    assert constants.counted == 0


def test_what_was_counted_is_known_to_the_next():
    constants = of(chain(1000))
    assert constants.reach("sum1000", 2000)
    counted = constants.counted
    constants.add(sum_of("after", "sum1000"))
    assert constants.reach("after", 2000)
    assert constants.counted == counted


def test_what_was_taken_out_is_gone():
    constants = of(chain(2))
    constants.remove("sum2")
    assert "sum1" in constants
    assert "sum2" not in constants
