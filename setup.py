"""The loops in C, which are left out where there is no compiler; everything else is in pyproject.toml."""

from setuptools import Extension, setup

NATIVE = "src/calibrant/algorithms/native"

setup(
    ext_modules=[
        Extension(
            "calibrant.algorithms._native",
            [f"{NATIVE}/{name}.c" for name in ("add", "between", "bins", "bucketize", "module", "sums", "walk")],
            depends=[f"{NATIVE}/{name}.h" for name in ("bucketize", "layout", "loops")],
            extra_compile_args=["-O3", "-ffp-contract=off", "-fvisibility=hidden"],
            optional=True,
            py_limited_api=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
