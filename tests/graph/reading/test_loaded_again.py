"""A model that is loaded twice in one process is the same graph, whatever TensorFlow has traced in between."""

import pytest

import calibrant
from calibrant.graph.reading.load import load
from graphs import numbers, tf, v1

keras = tf.keras
SEQUENCE = [tf.TensorSpec([None, 4, 3], tf.float32, name="sequence")]


class Chosen(keras.layers.Layer):
    """A branch and a loop, with weights in them if there are any."""

    def __init__(self, units=None, **options):
        super().__init__(**options)
        self.units = units
        self.product = None if units is None else keras.layers.Dense(units, name="product")

    def get_config(self):
        """What the constructor takes."""
        return {"name": self.name, "units": self.units}

    def build(self, shape):
        """Build what it is made of."""
        if self.product is not None:
            self.product.build(shape)
        super().build(shape)

    def call(self, x):
        """Either of two results, three times."""
        product = self.product or (lambda value: value + 1.0)
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: product(x), lambda: x * 2)
        return tf.while_loop(lambda at, _: at < 3, lambda at, z: (at + 1, product(z)), (0, y))[1]


def network(kind):
    x = keras.Input([4, 3], name="sequence")
    layers = {
        "lstm": lambda: keras.layers.LSTM(4, name="lstm")(keras.layers.LSTM(4, return_sequences=True, name="first")(x)),
        "swish": lambda: keras.layers.LSTM(4, activation="swish", name="lstm")(x),
        "gru": lambda: keras.layers.Bidirectional(keras.layers.GRU(4, name="gru"), name="both")(x),
        "weights": lambda: Chosen(3, name="chosen")(x),
        "no weights": lambda: keras.layers.Dense(2, name="dense")(Chosen(name="chosen")(x)),
    }
    return keras.Model(x, layers[kind](), name="network")


def in_file(suffix):
    def door(model, folder):
        model.save(folder / f"model{suffix}")
        return lambda: str(folder / f"model{suffix}")

    return door


def as_function(model, _):
    return lambda: tf.function(lambda sequence: model(sequence), input_signature=SEQUENCE)


def exported(model, folder):
    model.export(folder / "exported", verbose=False)
    return lambda: str(folder / "exported")


def saved(model, folder):
    tf.saved_model.save(model, str(folder / "saved"))
    return lambda: str(folder / "saved")


def without_signature(model, folder):
    module = tf.Module()
    module.model, module.infer = model, as_function(model, folder)()
    tf.saved_model.save(module, str(folder / "module"))
    return lambda: str(folder / "module")


DOORS = {
    "object": lambda model, _: lambda: model,
    "keras": in_file(".keras"),
    "h5": in_file(".h5"),
    "function": as_function,
    "concrete": lambda model, folder: as_function(model, folder)().get_concrete_function,
    "exported": exported,
    "saved": saved,
    "no signature": without_signature,
}


def same_again(make, **options):
    first, second = (load(make(), **options).graph_def() for _ in range(2))
    assert first.library.function
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    return [function.signature.name for function in first.library.function]


CASES = [("lstm", door) for door in DOORS]
CASES += [
    ("gru", "object"),
    ("swish", "object"),
    ("swish", "saved"),
    *(("weights", door) for door in ("object", "saved")),
]
CASES += [("no weights", door) for door in ("object", "function", "saved", "no signature")]


@pytest.mark.parametrize("kind, door", CASES)
def test_every_door_gives_the_same_bytes(kind, door, tmp_path):
    with keras.utils.custom_object_scope({"Chosen": Chosen}):
        names = same_again(DOORS[door](network(kind), tmp_path), trust_model=True)
    inner = {"gru": "gru_1_while_body"} | dict.fromkeys(("lstm", "swish"), "lstm_1_while_body")
    assert any(inner.get(kind, "cond_true") in name for name in names)


@pytest.mark.parametrize("is_resource", [True, False])
def test_models_of_tensorflow_1(is_resource, tmp_path):
    v1.enable_control_flow_v2()
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], "x")
        kernel = v1.get_variable("kernel", [3, 3], use_resource=is_resource)
        y = tf.while_loop(
            lambda at, _: at < 3,
            lambda at, z: (at + 1, tf.cond(at > 1, lambda: z @ kernel, lambda: z)),
            (0, x),
        )[1]
        y = tf.identity(y, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": x}, {"y": y})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])
    (tmp_path / "frozen.pb").write_bytes(frozen.SerializeToString())
    same_again(lambda: tmp_path / "saved")
    names = same_again(lambda: tmp_path / "frozen.pb")
    assert set(names) == {function.signature.name for function in frozen.library.function}


def test_a_run_is_resumed_in_the_same_process(tmp_path):
    model, data = network("lstm"), numbers(8, 4, 3)

    def ends_early():
        yield data[:4]
        raise KeyboardInterrupt

    options = {"config": "batch_num: 2", "refine": False}
    with pytest.raises(KeyboardInterrupt):
        calibrant.quantize(model, data=ends_early, resume=tmp_path / "state.npz", **options)
    assert (tmp_path / "state.npz").exists()
    batches = [data[:4], data[4:]]
    resumed = calibrant.quantize(model, data=batches, resume=tmp_path / "state.npz", **options)
    whole = calibrant.quantize(model, data=batches, **options)
    first, second = (result.fakequant.graph_def().SerializeToString(deterministic=True) for result in (resumed, whole))
    assert first == second
