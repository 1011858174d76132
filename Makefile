# Enso, by hand: `make demo` on a fresh machine with Python 3.11 or 3.12, `make help` for the rest.
# Programs are run as `python -m …`: scripts in .venv/bin name it by its full path, which may be too long for the kernel
# or belong to where the clone lay before.

PY := .venv/bin/python
PACKAGES := config feedback labeling serving learning
BENCHMARKS := loop encoder
ARGS :=
# How many processes run the suite; each has servers of its own (tests/servers.py). A part named by ARGS is spread as well.
WORKERS := 2

# One thread for each numerical library: tests run many processes on few cores.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: setup demo test soak lint types docs bench stop reset help

help: ## show these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## .venv, the pinned packages, the text encoder (PYTHON=… names the Python to use)
	@PYTHON='$(PYTHON)' sh ops/setup.sh

demo: setup ## the whole stack with a sample desk, at http://127.0.0.1:8000; Ctrl+C stops it
	@$(PY) manage.py demo $(ARGS)

test: setup ## the whole suite on real servers (ARGS="tests/serving -k predict" for a part)
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: setup ## the large figures: many tasks, many requests, kill storms
	$(ONE_THREAD) $(PY) -m pytest -m soak --timeout=0 $(ARGS)

lint: setup ## ruff, import layers, missing migrations
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -c 'import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())'
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) ops/observability.py --check

types: setup ## mypy
	$(PY) -m mypy $(PACKAGES) benchmarks
	$(PY) -m mypy clients/python/src/enso_client

docs: setup ## the documentation, in out/site
	$(PY) -m mkdocs build --strict --site-dir out/site

bench: setup ## the quick benchmarks, as JSON in out/bench
	@mkdir -p out/bench
	@set -e; for name in $(BENCHMARKS); do \
		echo "benchmarks.$$name"; $(PY) -m benchmarks.$$name --quick --json out/bench/$$name.json; \
	done

stop: ## stop the stack and the embedded servers
	@if [ -x $(PY) ]; then $(PY) manage.py stop; $(PY) -m config.embedded stop; else echo "Nothing was set up here."; fi

reset: stop ## delete the data (.enso, and root's under /var/lib/enso), but not .venv
	@if [ -x $(PY) ]; then $(PY) -m config.embedded reset; else rm -rf .enso .enso-test .enso-test-[0-9]*; fi
	@for home in .enso-test .enso-test-[0-9]*; do \
		if [ -d $$home ]; then ENSO_HOME=$$home $(PY) -m config.embedded reset >/dev/null; fi; \
	done
