#!/bin/sh
# Sets up .venv if need be and runs all tests: ruff, mypy, pytest.  Arguments go to pytest: ./test.sh -k geometry
set -eu
cd "$(dirname "$0")"
. Testing/setup_environment.sh
setup_environment test
ruff check .
mypy
exec python -m pytest "$@"
