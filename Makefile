# make demo    install, make the demo corpus, train, evaluate, extract, show results
# make test    install, check the style, run all tests
# make fuzz    ten minutes of damaged recordings: does any get through
# make benchmark   how fast training and extraction are, beside other ways; a quarter
#              of an hour in which nothing else should run
# Needs Python 3.11, make and gcc. PYTHON=… names another Python.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
CORPUS := corpora/demo
RESULTS := results/demo

# Small enough for two CPU cores.
DEMO_OPTIONS := --channels=[256,256,256,256,768] --number_of_epochs=8 \
	--batch_size=16 --clip_length=3 --scheduler=onecycle --max_lr=0.001 --freqm=10

.PHONY: demo test fuzz benchmark lint install clean

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

test: install lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -m "not alone" --numprocesses=2 --dist=loadscope
	OMP_NUM_THREADS=1 $(PY) -m pytest -m alone

fuzz: install
	OMP_NUM_THREADS=1 PYTHONPATH=. $(PY) tests/fuzz/fuzz_recordings.py --minutes=10

benchmark: install
	PYTHONPATH=. $(PY) tests/benchmarks/extraction.py
	PYTHONPATH=. $(PY) tests/benchmarks/extraction.py --memory
	PYTHONPATH=. $(PY) tests/benchmarks/training_epoch.py

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and \
		"Python 3.11 is needed, found %s: make PYTHON=…" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
