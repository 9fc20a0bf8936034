#!/bin/sh
# Sets everything up and runs every check. With --all also the slow ones (soaks, faults at many points).
# Further arguments go to pytest: sh deploy/test.sh -k delta
set -eu
. "$(dirname -- "$0")/environment.sh"
all=no
if [ "${1-}" = --all ]; then all=yes; shift; fi
environment test
cd "$ROOT"

failed=""
check() { # check NAME COMMAND...: runs it, remembers a failure, goes on
    name=$1; shift
    say "== $name"
    "$@" || { failed="$failed $name"; say "== $name FAILED"; }
}

check ruff ruff check .
check format ruff format --check .
check mypy mypy
check imports lint-imports --no-cache
if [ "$all" = yes ]; then marks=""; else marks="not slow"; fi
check pytest pytest -n "${BLOCKER_TEST_JOBS:-2}" --dist loadfile -m "$marks" "$@"
if [ "$all" = yes ]; then
    # The run before was in the compiled lane, if there is a compiler.
    check plain-lane env BLOCKER_LANE=plain pytest -n "${BLOCKER_TEST_JOBS:-2}" --dist loadfile -m resolver "$@"
fi

if [ -n "$failed" ]; then
    say "Failed:$failed"
    exit 1
fi
say "All checks passed."
