#!/bin/sh
# One CI job: start, wait until all is healthy, test, take down; the exit code is that of the tests.
cd "$(dirname "$0")" || exit
trap 'hoist down -v --remove-orphans' EXIT
hoist up --build --exit-code-from tests
