.PHONY: app test check

app: # serve the app on this machine
	python app.py

test: # the tests, as in the README
	python -m pytest

check: # linter, formatter, types
	ruff check . && ruff format --check . && pyright
