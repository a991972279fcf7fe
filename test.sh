#!/bin/sh
# Sets up .venv if need be and runs all tests: ruff, mypy, import-linter, pytest.  Arguments go to pytest: ./test.sh -k geometry
set -eu
cd "$(dirname "$0")"
. Testing/setup_environment.sh
setup_environment test
ruff check .
mypy
PYTHONPATH=TriplaneGaussianRecon lint-imports
exec python -m pytest "$@"
