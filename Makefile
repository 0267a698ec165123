# Two commands: `make demo` runs the main job, `make test` passes the tests. Everything else they need, they install.
SHELL := bash
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export HF_HUB_OFFLINE := 1
export OMP_NUM_THREADS := 1
PYTHON ?= $(shell for p in python3.12 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3,12) <= sys.version_info[:2] < (3,14))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.nightlab-ready
SCRATCH := /dev/shm/nightlab-test-$(shell id -u)-$(shell pwd | cksum | cut -d' ' -f1)
IN_MEMORY := $(if $(shell test -w /dev/shm && echo yes),--basetemp=$(SCRATCH))  # labs of tests wait for no disk; some 100 MiB

.PHONY: demo test test-slow chaos lint format lock proto system clean

demo: $(READY)  ## Two simulated stations take Push-T from failing to solved; ends with a report
	$(BIN)/nightlab run push_t --stations 2 --researcher offline --profile nominal --speed 15 --budget 13m --lab lab

test: $(READY)  ## Everything that must hold, in under 10 minutes on 2 cores
	$(BIN)/python -m pytest -q -m "not slow" $(IN_MEMORY) -n 2 --dist loadfile --ignore tests/flows --ignore tests/commands/test_prefect.py --ignore tests/commands/test_next_run.py tests
	$(BIN)/python -m pytest -q -m "not slow" $(IN_MEMORY) -n 2 --dist loadfile tests/flows tests/commands/test_prefect.py tests/commands/test_next_run.py  # whole labs and servers
	rm -rf $(SCRATCH)

test-slow: $(READY)  ## What takes longer: whole campaigns, kill -9 of every process
	@bash scripts/system-packages.sh tests
	$(BIN)/python -m pytest -q -m slow tests

chaos: $(READY)  ## Every cell of the chaos table, n = 3 for SIGKILL; root for full disks. Goes on where it was stopped
	$(BIN)/python -m benchmarks.chaos --out chaos.jsonl --docs docs/chaos.md

lint: $(READY)  ## Style, types and the one-way imports between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "nightlab needs Python 3.12 or 3.13; found: $$(python3 --version 2>&1). Install python3.12 (with python3.12-venv) and run make again."; exit 2; }
	@bash scripts/system-packages.sh
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q uv
	$(BIN)/python -m uv pip sync -q --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/python -m uv pip install -q --no-deps --no-build-isolation --python $(BIN)/python -e .
	$(BIN)/python -m compileall -q agents commands data environments flows nightlab policies robots tasks
	-$(BIN)/python -m compileall -q -j 2 $(addprefix .venv/lib/python3*/site-packages/,numpy pymunk shapely msgpack yaml cffi grpc google pyarrow rich typer) >/dev/null 2>&1
	$(BIN)/python -m commands.prefect_database >/dev/null
	touch $(READY)

lock:  ## Resolve pyproject.toml into requirements.lock (hashes, no URLs)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q uv
	$(BIN)/python -m uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.12 \
	  --custom-compile-command "make lock" --group dev pyproject.toml -o requirements.lock

proto: $(READY)  ## Regenerate the gRPC stubs of robots/station.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. --pyi_out=. robots/station.proto

system:  ## Debian packages that make it better: sandbox, screenshots, graphs
	bash scripts/system-packages.sh

clean:
	rm -rf .venv build dist
