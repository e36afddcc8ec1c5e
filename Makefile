# The commands of the README. Everything is installed into .venv; nothing outside this folder is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run install install-dev check format lint typecheck imports test soak bench-main bench-store bench-apiserver bench-span bench-scheduler bench-simulation proto clean

## run: install, then the main job: 2 tenant and 2 resource partitions, 200 hollow nodes, 2,000 pods, and a report
run: install
	$(BIN)/ursa density --tenant-partitions 2 --resource-partitions 2 --nodes 200 --pods-per-node 10 --qps 500 --output runs

install: .venv/installed
install-dev: .venv/installed-dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ursa needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/installed

## check: style, types, and the layering of the imports
check: lint typecheck imports

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: install-dev
	@mkdir -p build/types && ln -sfn ../.. build/types/ursa
	MYPYPATH=build/types $(BIN)/mypy -p ursa

imports: install-dev
	$(BIN)/lint-imports

## test: every test, on all cores; about ten minutes on two
test: install-dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

## soak: every test with newly drawn examples, and those that take long: a hundred rounds of a one box
soak: install-dev
	URSA_SOAK=1 $(BIN)/python -m pytest

## bench-main: the figures of the main job, into build/bench/main.json
bench-main: install
	$(BIN)/python benchmarks/main.py

## bench-store: the figures of the store, beside a real etcd (Debian's etcd-server), into build/bench/store.json
bench-store: install-dev
	$(BIN)/python benchmarks/store.py

## bench-apiserver: the figures of the apiserver, into build/bench/apiserver.json
bench-apiserver: install
	$(BIN)/python benchmarks/apiserver.py

## bench-span: the figures of spanning partitions, into build/bench/span.json
bench-span: install-dev
	$(BIN)/python benchmarks/span.py

## bench-scheduler: the figures of the scheduler alone, into build/bench/scheduler.json
bench-scheduler: install
	$(BIN)/python benchmarks/scheduler.py

## bench-simulation: the figures of the simulation and of its judges, into build/bench/simulation.json
bench-simulation: install
	$(BIN)/python benchmarks/simulation.py

## proto: generate the Python code of the wire contract
proto: install-dev
	cd proto && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. ursa.proto

clean:
	rm -rf build .venv *.egg-info
