PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE := setup.py $(wildcard src/calibrant/algorithms/native/*.[ch])

.PHONY: help demo test fuzz coverage lint docs format bench bench-peers bench-accuracy bench-scaling proto lock sbom wheels clean

help:
	@echo "make demo             quantize the bundled network and compare float with INT8"
	@echo "make test             run the tests"
	@echo "make fuzz             run the fuzzers with their large budgets, and list what they tried"
	@echo "make coverage         run the tests and list the lines that none of them reaches"
	@echo "make lint             check style, docstrings and types"
	@echo "make format           fix style"
	@echo "make docs             build the documentation site in out/docs; warnings are errors"
	@echo "make bench            time of calibration compared with plain inference, and of every other step"
	@echo "make bench-peers      time and memory of other quantizers on the same networks"
	@echo "make bench-accuracy   INT8 accuracy compared with other quantizers, on real models in ../shared"
	@echo "make bench-scaling    how time and memory grow with layers, nodes, inputs and batches"
	@echo "make proto            compile the .proto files"
	@echo "make lock             pin the newest dependencies in requirements.lock"
	@echo "make sbom             list the pinned dependencies as dist/sbom.cdx.json (CycloneDX)"
	@echo "make clean            remove everything that was built"

$(READY): pyproject.toml requirements.lock $(NATIVE)
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 10), 'Python 3.10 or newer is needed: make PYTHON=python3.11'"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	rm -f src/calibrant/algorithms/_native.*.so
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	$(BIN)/calibrant quantize examples/digits/digits.pb --config examples/digits/quant.cfg \
	    --data examples/digits/calibration.npz --out out/digits
	$(BIN)/calibrant evaluate examples/digits/digits.pb out/digits/digits_fakequant.pb \
	    --data examples/digits/test.npz --labels examples/digits/test.npz:y

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

fuzz: $(READY)
	CALIBRANT_FUZZ=long $(BIN)/python -m pytest -n 2 --dist worksteal tests/fuzz; code=$$?; \
	$(BIN)/python tests/fuzz/environments.py && exit $$code

coverage: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov=calibrant

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/numpydoc lint $$(find src -name '*.py')

docs: $(READY)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . out/docs
	@echo "out/docs/docs/index.html"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python bench/histogram.py
	$(BIN)/python bench/speed.py
	$(BIN)/python bench/speed_real.py
	$(BIN)/python bench/steps.py --repetitions 1
	$(BIN)/python bench/load.py --pairs 3
	sed -n '/^[A-Za-z]/{s/ *\\$$//; s/\[[^]]*\]//; p;}' requirements.lock > $(VENV)/constraints.txt  # no hashes, no extras
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt matplotlib
	$(BIN)/python bench/tflite.py --only digits,resnet8,ds_cnn
	$(BIN)/python bench/tflite_models.py --groups modern
	$(BIN)/python bench/scaling.py
	-$(BIN)/python bench/profile_run.py
	$(BIN)/python bench/report.py

bench-peers: $(READY)
	$(BIN)/python bench/peers_speed.py
	$(BIN)/python bench/report.py

bench-accuracy: $(READY)
	$(BIN)/python bench/accuracy.py

bench-scaling: $(READY)
	sed -n '/^[A-Za-z]/{s/ *\\$$//; s/\[[^]]*\]//; p;}' requirements.lock > $(VENV)/constraints.txt  # no hashes, no extras
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt matplotlib
	$(BIN)/python bench/growth.py --out docs/measurements

proto: $(READY)
	$(BIN)/python tools/compile_protos.py

lock:
	uv pip compile --universal --python-version 3.10 --extra dev --extra docs --no-header --no-strip-extras --generate-hashes --output-file requirements.lock pyproject.toml

sbom:
	@mkdir -p dist
	uv tool run --from cyclonedx-bom cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
	    --spec-version 1.6 --output-file dist/sbom.cdx.json requirements.lock

wheels: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) out build dist
