# Everything that a person or CI runs. Each target works on a fresh machine with Python >= 3.11, make and a
# package registry. Virtual environments are made on first use and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
VENV2 := .venv-openai2
BIN := $(VENV)/bin
EXTRAS := langchain,cli,standin

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-openai2 check lint types contracts mutants bench bench-media fuzz live-caption record fix clean

help:  ## what there is to run
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 20

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --group check --group test-llama-index
	@touch $@

$(VENV2)/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV2)
	$(VENV2)/bin/python -m pip install --quiet --upgrade pip
	$(VENV2)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]' --group test 'openai<3'
	@touch $@

demo: $(VENV)/.demo  ## make a video of five minutes, summarise it, check what comes back
	$(BIN)/python examples/demo.py

test: $(VENV)/.test  ## the fast suite
	$(BIN)/python -m pytest -n auto -m 'not slow'

test-openai2: $(VENV2)/.test  ## the same suite on version 2 of the openai SDK
	$(VENV2)/bin/python -m pytest -n auto -m 'not slow'

test-slow: $(VENV)/.test  ## what moves hundreds of megabytes or kills processes
	$(BIN)/python -m pytest -n auto -m slow

check: lint types contracts test test-slow test-openai2 mutants  ## all that CI runs

lint: $(VENV)/.check
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.check
	$(BIN)/mypy

contracts: $(VENV)/.check
	$(BIN)/lint-imports

mutants: $(VENV)/.test  ## break the code in known ways; the truth tests must notice each
	$(BIN)/python -m tests.mutants

bench: $(VENV)/.test  ## measure; prints ratios
	$(BIN)/python benchmarks/stream.py
	$(BIN)/python benchmarks/captions_parse.py
	$(BIN)/python benchmarks/caption.py
	$(BIN)/python benchmarks/delivery.py
	$(BIN)/python benchmarks/long_video.py

bench-media: $(VENV)/.test  ## measure the media engine against ffmpeg; takes long, wants a quiet machine
	$(BIN)/python -m pip install --quiet imageio-ffmpeg
	$(BIN)/python benchmarks/media.py --rounds 5 \
	  --ffmpeg "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')"

fuzz: $(VENV)/.test  ## 50,000 damaged files; takes long
	QWEN_OMNI_FUZZ=50000 $(BIN)/python -m pytest -m slow tests/core/media/test_prepare_hostile.py

live-caption: $(VENV)/.demo  ## caption a video on the real service (needs DASHSCOPE_API_KEY; FILE=promo.mp4 for your own)
	$(BIN)/python benchmarks/caption.py --live $(if $(FILE),--file '$(FILE)')

record: $(VENV)/.test  ## record the cassettes again: real service if DASHSCOPE_API_KEY is set, else the stand-in
	$(BIN)/python -m pytest --record-mode=rewrite -m vcr tests

fix: $(VENV)/.check  ## put the style right
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environments and what was made
	rm -rf $(VENV) $(VENV2) demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
