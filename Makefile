# Every verb of the project. `make train` and `make test` need Python 3.10 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train serve evaluate test test-long notebooks bench readme docs verify-models lock clean

train: .venv/installed
	$(BIN)/python src/main.py

serve: .venv/installed
	$(BIN)/mnist-cnn serve

evaluate: .venv/installed
	$(BIN)/python src/evaluate.py

test: .venv/installed-dev
	mkdir -p .venv/typed && ln -sfn ../../src .venv/typed/mnist_cnn
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p mnist_cnn
	$(BIN)/mypy tests scripts benchmarks
	$(BIN)/pytest

test-long: test
	$(BIN)/pytest --long -m long

notebooks: .venv/installed-dev
	$(BIN)/python scripts/notebooks.py

bench: .venv/installed-dev
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/accuracy_vs_parameters.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/contention.py
	$(BIN)/python benchmarks/robustness.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/page.py
	$(BIN)/python benchmarks/distributed.py
	$(BIN)/python benchmarks/chip.py

readme: .venv/installed-dev
	$(BIN)/python scripts/own_digit.py
	$(BIN)/python scripts/samples.py
	$(BIN)/python scripts/screenshot.py
	$(BIN)/python scripts/readme.py
	$(BIN)/python scripts/verify_models.py --write

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo build/docs/index.html

verify-models:
	$(PYTHON) scripts/verify_models.py

lock: .venv/installed-dev
	$(BIN)/pip install --quiet -e '.[notebooks]'
	$(BIN)/pip freeze --exclude-editable | sed 's/+.*//' > constraints.txt
	$(BIN)/uv pip compile pyproject.toml --extra serve --constraints constraints.txt --universal --generate-hashes \
	  --no-annotate --no-header --quiet --output-file deploy/requirements.txt

clean:
	rm -rf .venv build *.egg-info

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
