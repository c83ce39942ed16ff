# make demo    install, make the demo corpus, train, evaluate, extract, show results
# make test    install, check the style, run all tests but for repetitions
# make test-all   the same with them, and report the coverage of local/
# make fuzz    ten minutes of damaged recordings, and files of all containers cut, joined
#              and so on: does any get through, or is one read short
# make benchmark   how fast training and extraction are, beside other ways; a quarter
#              of an hour in which nothing else should run
# make test-faults   kill, stop and fill the disk at all moments of all stages, start
#              again and compare; hours: FAULTS="--every=10 --stages=training" is less
# make docs    build the documentation site in site/
# make lock    pin all packages anew in requirements.lock, with hashes
# make newest  do the newest versions that the requirements allow work? which does not?
# make audit   look the pinned packages up in a database of known vulnerabilities
# Needs Python 3.11, 3.12 or 3.13, make and gcc. What is installed is what
# requirements.lock pins, every file checked by its hash. PYTHON=… names another Python;
# CPU=1 CPU_INDEX=URL takes PyTorch's builds without CUDA from that index.

VENV := .venv
# a .venv that is there stays as it is, unless PYTHON or CPU asks for another
THERE := $(if $(PYTHON)$(CPU),,$(firstword $(wildcard $(VENV)/installed-*)))
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || \
	command -v python3.13 || command -v python3)
ASKED := $(VENV)/installed-$(shell $(PYTHON) -c \
	'import sys; print("%d.%d" % sys.version_info[:2])')$(if $(filter 1,$(CPU)),-cpu)
INSTALLED := $(or $(THERE),$(ASKED))
PY := $(VENV)/bin/python
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
TOOLS := $(VENV)-tools/bin
CORPUS := corpora/demo
RESULTS := results/demo

# Small enough for two CPU cores.
DEMO_OPTIONS := --channels=[256,256,256,256,768] --number_of_epochs=8 \
	--batch_size=16 --clip_length=3 --scheduler=onecycle --max_lr=0.001 --freqm=10

# Two processes, and the tests of a file in one of them.
IN_TWO := --numprocesses=2 --dist=loadscope --no-loadscope-reorder

.PHONY: docs demo test test-all test-faults fuzz benchmark lint install lock newest audit \
	clean

demo: install
	$(PY) recipes/demo/prepare.py --corpus_folder=$(CORPUS)
	$(PY) train.py hparams/train.yaml --corpus_folder=$(CORPUS) \
		--output_folder=$(RESULTS) $(DEMO_OPTIONS)
	$(PY) evaluate.py hparams/evaluate.yaml --experiment_folder=$(RESULTS)
	$(PY) extract_embeddings.py hparams/extract_embeddings.yaml \
		--experiment_folder=$(RESULTS) --split_csv=$(CORPUS)/splits/test.csv \
		--data_folder=$(CORPUS)/audio --embedding_type=pt \
		--output_file=$(RESULTS)/embeddings.parquet
	$(PY) recipes/demo/results.py --corpus_folder=$(CORPUS) \
		--experiment_folder=$(RESULTS)

# what a hundred processes load is compiled once, whatever the shell says
test test-all: export PYTHONDONTWRITEBYTECODE =
test test-all: export OMP_NUM_THREADS = 1

test: install lint
	$(PY) -m pytest -m "not repeats" $(IN_TWO)

test-all: install lint
	rm -rf .coverage
	$(PY) -m coverage run -m pytest $(IN_TWO)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

fuzz: install
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/fuzz/fuzz_recordings.py --minutes=10
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/fuzz/containers.py

benchmark: install
	PYTHONPATH=. $(PY) tests/benchmarks/extraction.py
	PYTHONPATH=. $(PY) tests/benchmarks/extraction.py --memory
	PYTHONPATH=. $(PY) tests/benchmarks/training_epoch.py
	PYTHONPATH=. $(PY) tests/benchmarks/threads.py

test-faults: install
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/faults/matrix.py $(FAULTS)

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

install: $(INSTALLED)

# no package is built here: what a build needs would come without hashes
$(INSTALLED): requirements.lock
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit( \
		"Python 3.11, 3.12 or 3.13 is needed, found %s: make PYTHON=…" \
		% sys.version.split()[0])'
	$(if $(filter $@,$(ASKED)),,$(error requirements.lock is newer than $@: give the \
		PYTHON and CPU again that it was made with))
	$(if $(filter 1,$(CPU)),$(if $(CPU_INDEX),,$(error CPU=1 needs CPU_INDEX=URL, the \
		index of CPU builds that the installation page of PyTorch names)))
	@test ! -L $(VENV) || { echo "$(VENV) is a link, and what it leads to would" \
		"be emptied: remove the link." >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
ifeq ($(CPU),1)
	sed -n 's/^\(torch\|torchaudio\)\(==[^ ]*\).*/\1\2/p' requirements.lock > $(VENV)/torch.txt
	$(PY) $(PIP_INSTALL) --no-deps --index-url $(CPU_INDEX) -r $(VENV)/torch.txt
	awk '/^[^ ]/ { kept = !/^(torch|triton|nvidia-|cuda-)/ } kept' requirements.lock \
		> $(VENV)/others.lock
	$(PY) $(PIP_INSTALL) --no-deps --require-hashes --only-binary=:all: \
		-r $(VENV)/others.lock
else
	$(PY) $(PIP_INSTALL) --require-hashes --only-binary=:all: -r requirements.lock
endif
	touch $@

docs: install
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build

# fewest: one version of a package for all versions of Python
lock: $(TOOLS)/uv
	$(TOOLS)/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
		--python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" \
		--output-file requirements.lock requirements-dev.txt

newest:
	$(PYTHON) -m venv --clear $(VENV)-newest
	$(VENV)-newest/bin/python $(PIP_INSTALL) --upgrade -r requirements-dev.txt
	$(PYTHON) tests/newest.py $(VENV)-newest/bin/python

# strict: a package that is not found in the database is no package without faults
audit: $(TOOLS)/uv
	$(TOOLS)/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

$(TOOLS)/uv:
	$(PYTHON) -m venv $(VENV)-tools
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check uv pip-audit

clean:
	rm -rf $(VENV) $(VENV)-tools $(VENV)-newest site
