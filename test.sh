#!/bin/sh
# Sets up .venv if need be and runs all tests: ruff, mypy, import-linter, pytest on all processors.
# Arguments go to pytest:  ./test.sh -k geometry    ./test.sh -n 0 (in one process)    ./test.sh --cov (with coverage)
set -eu
cd "$(dirname "$0")"
. Testing/setup_environment.sh
setup_environment test
provide_stable_slicer
ruff check .
mypy
PYTHONPATH=TriplaneGaussianRecon lint-imports
# A file's tests stay in one process, since they share what is dear to make.
exec python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile "$@"
