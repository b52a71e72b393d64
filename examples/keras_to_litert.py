"""A Keras model becomes an INT8 LiteRT file, and both are compared on test data.

Run: python examples/keras_to_litert.py [FOLDER]
"""

import sys

import keras
import numpy as np
from sklearn.datasets import load_digits

import calibrant

folder = sys.argv[1] if len(sys.argv) > 1 else "out/keras_to_litert"
keras.utils.set_random_seed(0)
images, classes = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1).astype(np.float32) / 16
training, test = slice(0, 1400), slice(1400, None)

model = keras.Sequential(
    [
        keras.Input([8, 8, 1]),
        keras.layers.Conv2D(16, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images[training], classes[training], epochs=8, verbose=0)

result = calibrant.quantize(model, data=images[training], out=folder, export="tflite", name="digits")
print(result.summary)
float_score, int8_score = calibrant.evaluate([model, f"{folder}/digits_fakequant.pb"], images[test], classes[test])
print(f"accuracy: float {float_score.top1:.2%}, INT8 {int8_score.top1:.2%}")
checked = calibrant.verify(folder, images[test], model=model)
print("the LiteRT file computes what its simulation computes" if checked.passed else "the files differ")
print(f"look at {folder}/report.html")
