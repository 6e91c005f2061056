# make setup   the virtual environment
# make run     set up, build the default bundle, serve, demonstrate (RUN_ONCE=1: then stop; PORT=8000)
# make test    the tests
# make test-unit  those without real data, default bundles, whole programs and long training: a few minutes
# make check   lint, types and tests: what CI runs
# make docs    the documentation as a site: build/docs/index.html
# make docs-links  do the links that leave it answer?
# make load    load test of one scenario against a server it starts, or HOST=http://…; report in build/load/, exit status 1 where
#              a bound is not kept (SCENARIO=steady USERS=16 DURATION=60s WORKERS=0; docs/capacity.md has the scenarios)
# make bench   what it costs beside other ways, as one table: docs/performance.md (ONLY=serving: one group; CORES=1,2,4: of it, on so
#              many cores; about 35 min)
# make bench-gpu  what an NVIDIA GPU does, as one table in build/gpu/ (GPU='--only search …'; docs/gpu.md)
# make torture kill the server KILLS=200 times under traffic, flood it, starve one key by another, send it hostile input for HOSTILE_S=120 s,
#              then attack what is enrolled (RECOVERY_CALLS=1000); reports in build/torture/
# make torture REPLICAS=2  instead: that many replicas on one PostgreSQL behind HAProxy contend, stop, die and lose their
#              database under load (PAIRS=10000 CALLS=1000 DRAINS=20 PAUSE_S=30); build/torture/replicas.md
# make accuracy  EER of the served embeddings (DATA=../shared/data)
# make fusion  who passes with a voice and a face, one or both of them wrong; build/fusion/accepted.json (DATA=../shared/data)
# make lock    .ci/requirements-*.txt: sha256 of every file of the versions in .ci/constraints.txt that the image installs
# make sbom    what the image installs beside its base, as CycloneDX: build/supply/sbom.cdx.json
# make image-test  build the image without a daemon, and run it with few rights (IMAGE=gpu: that for GPUs); root, Linux
# make audit   known vulnerabilities of that, where an advisory service answers
# make promises  are thresholds kept by people who did not set them? docs/experiments/promises.md (DATA=../shared/data; half an hour)
# make identification  FPIR and FNIR against gallery size, into docs/identification.md (DATA=../shared/data)
#
# TORCH_INDEX_URL=…  address of an index, or a folder, of PyTorch's CPU wheels; without it pip takes the index's own
#                    torch, which on Linux brings several GB of CUDA packages
# EXTRA=cpu          cpu or gpu, or cuda; later calls keep what is installed
# PORT=…             of `make run` (8000), and of the server that load, accuracy, fusion and identification start (8009)
.DEFAULT_GOAL := help
.PHONY: help setup run test test-unit check lint types load accuracy fusion promises identification bench torture bundles lock sbom audit image-test docs docs-links clean

PYTHON ?= python3
DATA ?= ../shared/data
# what is installed stays so: cpu and gpu install the same folders
INSTALLED = $(or $(shell cat $(VENV)/.run 2>/dev/null),cpu)
EXTRA ?= $(INSTALLED)
LITE_cpu := ,lite# requires faiss-cpu
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CONSTRAINTS := .ci/constraints.txt
INDEX := $(if $(TORCH_INDEX_URL),$(if $(findstring ://,$(TORCH_INDEX_URL)),--extra-index-url,--find-links) '$(TORCH_INDEX_URL)')
INSTALL := sh .ci/install.sh '$(PYTHON)' $(VENV) $(INDEX) -c $(CONSTRAINTS)
INTERRUPTED := $(wildcard $(VENV)/.installing)
RUN_PORT := $(or $(PORT),8000)
LOAD_PORT := $(or $(PORT),8009)
URL := http://127.0.0.1:$(RUN_PORT)
LOAD_URL := http://127.0.0.1:$(LOAD_PORT)

help:
	@sed -n '/^[^#]/q; s/^# \{0,1\}//p' Makefile

setup: $(VENV)/.run
	@[ '$(EXTRA)' = '$(INSTALLED)' ] || { echo "$(VENV) has the packages for $(INSTALLED), in the same folders as those for $(EXTRA): make clean, then again" >&2; exit 1; }

$(VENV)/.run: pyproject.toml $(CONSTRAINTS) $(INTERRUPTED)
	$(INSTALL) -e '.[$(EXTRA),train]'
	@echo '$(EXTRA)' > $@

$(VENV)/.test: $(VENV)/.run
	$(INSTALL) -e '.[$(EXTRA),train,test,lint,docs$(LITE_$(EXTRA))]'
	@touch $@

run: bundles
	@if $(BIN)/matchka wait --timeout 0 --url $(URL) 2>/dev/null; then \
	    echo "A service already answers on port $(RUN_PORT); choose another with PORT="; exit 1; fi
	@$(BIN)/matchka serve --port $(RUN_PORT) & server=$$!; \
	trap 'kill $$server 2>/dev/null; wait $$server 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	$(BIN)/matchka wait --timeout 120 --url $(URL) & waiting=$$!; \
	while kill -0 $$waiting 2>/dev/null; do kill -0 $$server 2>/dev/null || { kill $$waiting; exit 1; }; sleep 0.1; done; \
	wait $$waiting || exit 1; \
	$(BIN)/matchka demo --url $(URL); status=$$?; \
	if [ -n "$(RUN_ONCE)" ]; then exit $$status; fi; \
	echo "Open $(URL) in a browser, with a microphone or a camera (its calls: $(URL)/docs); stop with Ctrl-C."; \
	wait $$server

# the default models first: tests in two processes would build them twice
# threads, whole programs, browsers and databases on a machine that others use: what fails is run once more, and named
RERUNS := --reruns 1 -rR
test: test-unit bundles
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile $(RERUNS)

test-unit: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile $(RERUNS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict --config-file .ci/yamllint.yaml compose.yaml deploy tests
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml deploy/compose.scale.yaml

types: $(VENV)/.test
	$(BIN)/mypy

check: lint types test

BESIDE_SERVER := $(BIN)/python -m loadtests.with_server --port $(LOAD_PORT)
USERS ?= 16
DURATION ?= 60s
SCENARIO ?= steady
WORKERS ?= 0
# LOAD: further options of loadtests/locustfile.py, such as --max-p99-ms 500
load: $(VENV)/.test bundles
	@$(BIN)/python -m loadtests.scenarios --scenario $(SCENARIO) $(if $(HOST),--host $(HOST),--port $(LOAD_PORT)) \
	    --users $(USERS) --duration $(DURATION) --workers $(WORKERS) $(LOAD)

KILLS ?= 200
SEED ?= 1
HOSTILE_S ?= 120
RECOVERY_CALLS ?= 1000
PAIRS ?= 10000
CALLS ?= 1000
DRAINS ?= 20
PAUSE_S ?= 30
ifdef REPLICAS
torture: $(VENV)/.test
	$(BIN)/python -m loadtests.torture.replicas --replicas $(REPLICAS) --pairs $(PAIRS) --calls $(CALLS) --drains $(DRAINS) \
	    --pause-s $(PAUSE_S) --seed $(SEED)
else
torture: $(VENV)/.test bundles
	$(BIN)/python -m loadtests.torture.durability --kills $(KILLS) --seed $(SEED)
	$(BIN)/python -m loadtests.torture.overload --seconds 60
	$(BIN)/python -m loadtests.torture.starvation
	$(BIN)/python -m loadtests.torture.hostile --seconds $(HOSTILE_S) --seed $(SEED)
	$(BIN)/python -m loadtests.torture.attack --recovery-calls $(RECOVERY_CALLS) --seed $(SEED)
endif

accuracy: $(VENV)/.test bundles
	@$(BESIDE_SERVER) --out build/accuracy -- $(BIN)/python -m loadtests.bench.served_accuracy \
	    --url $(LOAD_URL) --data $(DATA)

fusion: $(VENV)/.test bundles
	@$(BESIDE_SERVER) --out build/fused -- $(BIN)/python -m loadtests.fusion.measure --url $(LOAD_URL) --data $(DATA)

promises: $(VENV)/.test bundles
	$(BIN)/matchka-train experiment promises --data $(DATA) --page docs/experiments

identification: $(VENV)/.test bundles
	@$(BESIDE_SERVER) --out build/identified -- $(BIN)/python -m loadtests.identification.measure \
	    --url $(LOAD_URL) --data $(DATA)

# LitServe is a contestant: beside the virtual environment, so that nothing else imports it
LITSERVE := litserve==0.2.19 pyzmq==27.3.0
build/bench/litserve/.installed: $(VENV)/.run
	$(PIP) install --no-deps --upgrade --target $(@D) $(LITSERVE)
	@touch $@

# embedded vector databases, each in its own process: another environment
ENGINES := pymilvus==3.0.2 milvus-lite==3.2.2 qdrant-client==1.20.0
build/bench/engines/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install $(ENGINES)
	@touch $@

bench: bundles build/bench/litserve/.installed $(if $(filter-out search%,$(ONLY)),,build/bench/engines/.installed)
	@$(BIN)/python -m loadtests.bench.run --only "$(ONLY)" --cores "$(CORES)"

# GPU: further options of loadtests.gpu, such as --only search, or --device cpu --subjects 10000 --http-subjects 1000
.PHONY: bench-gpu
bench-gpu: $(VENV)/.test bundles
	@$(BIN)/python -m loadtests.gpu $(GPU)

# uv asks its own settings for the package index (UV_DEFAULT_INDEX), not pip's. The hashes are of all platforms' files. What
# builds the bundles is resolved for macOS, where the index's torch brings no CUDA packages. PyTorch's CPU wheels lie in
# another index: their hashes, in .ci/requirements-torch-cpu.txt, are kept by hand.
build/lock/bin/uv:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip --disable-pip-version-check install uv==0.13.9

COMPILE := build/lock/bin/uv pip compile --quiet --no-annotate --custom-compile-command 'make lock' --generate-hashes \
    --no-emit-index-url --no-emit-find-links --python-version 3.11 --constraint $(CONSTRAINTS)
lock: build/lock/bin/uv
	echo setuptools | $(COMPILE) --python-platform linux pyproject.toml - --extra cpu --extra postgres \
	    --output-file .ci/requirements-serve-cpu.txt
	echo setuptools | $(COMPILE) --python-platform linux pyproject.toml - --extra gpu --extra postgres \
	    --output-file .ci/requirements-serve-gpu.txt
	echo setuptools | MACOSX_DEPLOYMENT_TARGET=14.0 $(COMPILE) --python-platform macos pyproject.toml - --extra cpu \
	    --extra train --no-emit-package torch --output-file .ci/requirements-export.txt
	echo torch | $(COMPILE) --no-deps - --output-file .ci/requirements-torch.txt
	printf 'av\npillow-heif\n' | $(COMPILE) --no-deps - --output-file .ci/requirements-formats.txt
	printf 'pymilvus\n' | $(COMPILE) --python-platform linux - --output-file .ci/requirements-milvus.txt
	printf 'opentelemetry-exporter-otlp-proto-http\nopentelemetry-sdk\n' | $(COMPILE) --python-platform linux - \
	    --output-file .ci/requirements-otel.txt

# their tools have needs of their own: another environment
SUPPLY := build/supply
$(SUPPLY)/.installed: .ci/requirements-supply.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps -r $<
	@touch $@

# setuptools builds the image, and is removed from it
sbom: $(SUPPLY)/.installed
	sed '/^setuptools==/,/[^\\]$$/d' .ci/requirements-serve-$(EXTRA).txt | $(SUPPLY)/bin/cyclonedx-py requirements - \
	    --pyproject pyproject.toml --mc-type application --output-reproducible --output-file $(SUPPLY)/sbom.cdx.json
	@echo "written: $(SUPPLY)/sbom.cdx.json"

audit: $(SUPPLY)/.installed
	@rm -f $(SUPPLY)/audit.json
	@$(SUPPLY)/bin/pip-audit --disable-pip --require-hashes --requirement .ci/requirements-serve-$(EXTRA).txt --format json \
	    --output $(SUPPLY)/audit.json --progress-spinner off --timeout 15 2>$(SUPPLY)/audit.log || true
	@$(SUPPLY)/bin/python .ci/audit.py $(SUPPLY)/audit.json

# not in `check`: some minutes and GB, root's rights, and programs of Debian
IMAGE ?= cpu
image-test: $(VENV)/.test
	$(BIN)/matchka-export samples
	TORCH_INDEX_URL='$(TORCH_INDEX_URL)' nice $(BIN)/python .ci/image.py $(IMAGE)

$(VENV)/.docs: $(VENV)/.run
	$(INSTALL) -e '.[$(EXTRA),train,docs]'
	@touch $@

SITE := PYTHONPATH=docs/site $(BIN)/python -m matchka_docs
docs: $(VENV)/.docs
	$(SITE)

docs-links: $(VENV)/.docs
	$(SITE) --out build/docs-links --links

bundles: $(VENV)/.run
	@$(BIN)/matchka-export defaults
	@$(BIN)/matchka-export samples

clean:
	rm -rf $(VENV) build models
