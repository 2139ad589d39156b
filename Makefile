.PHONY: app test test-cuda check docs notebooks check-all soak

app: # serve the app on this machine
	python app.py

test: # the tests, as in the README
	python -m pytest

test-cuda: # the tests that need a GPU
	python -m pytest tests/cuda -n 0

check: # linter, formatter, types
	ruff check . && ruff format --check . && pyright && lint-imports --no-cache

docs: # the documentation site; a warning is an error
	python -m sphinx -qEaW --keep-going docs build/docs

notebooks: # run the notebooks, and keep their outputs
	PYTHONWARNINGS=ignore PLOTLY_RENDERER=png python -m jupyter execute --inplace examples/notebooks/*.ipynb

check-all: check docs test # everything, the slow tests included
	python -m pytest -m "slow or hypothesis" --hypothesis-profile thorough

soak: # what takes too long for the tests
	python -m benchmarks.faults --kills 220 --save
	python -m benchmarks.fuzz --cases 5000 --save
	python -m benchmarks.soak --sessions 25 --minutes 60 --save
