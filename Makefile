.PHONY: app test check soak

app: # serve the app on this machine
	python app.py

test: # the tests, as in the README
	python -m pytest

check: # linter, formatter, types
	ruff check . && ruff format --check . && pyright

soak: # what takes minutes: the tests in full size
	python -m benchmarks.faults --kills 180 --save
