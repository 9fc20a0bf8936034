# Sourced by demo.sh and test.sh: makes .venv from a lock file, once for each content of that file.
# Sets ROOT and PY. Says what is missing instead of failing half-way.

ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
VENV="$ROOT/.venv"

say() { printf '%s\n' "$*"; }
fail() { printf 'Error: %s\n' "$1" >&2; [ -n "${2-}" ] && printf 'Next: %s\n' "$2" >&2; exit 1; }

find_python() {
    for candidate in "${PYTHON-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"; return 0
        fi
    done
    return 1
}

environment() { # environment runtime|test: .venv with exactly what that lock file pins, and this project in it
    kind=$1
    # An environment made for the tests holds all that the demo needs, and is never taken down for it.
    [ -x "$VENV/bin/pytest" ] && kind=test
    lock="$ROOT/deploy/lock/$kind.txt"
    python=$(find_python) || fail "Python 3.11 or later is missing" "apt-get install python3 python3-venv"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing" "apt-get install python3-venv"
    # The extensions' sources are part of it: a change there means building anew.
    sources=$(find "$ROOT/feeds" "$ROOT/resolver" -name '*.pyx' -o -name '*.pxd' | LC_ALL=C sort)
    stamp="$kind $ROOT $(cat "$lock" "$ROOT/setup.cfg" "$ROOT/pyproject.toml" $sources | cksum)"
    if [ "$(cat "$VENV/stamp" 2>/dev/null || true)" != "$stamp" ]; then
        say "Setting up .venv from deploy/lock/$kind.txt (once; needs the network) ..." >&2
        [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$VENV" ||
            fail "the virtual environment $VENV cannot be made" "check the disk and permissions"
        pip="$VENV/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location"
        $pip --only-binary :all: --require-hashes -r "$lock" > "$VENV/pip.log" 2>&1 || {
            cat "$VENV/pip.log" >&2
            fail "the packages of deploy/lock/$kind.txt could not be installed" "check the network, then run this again"
        }
        $pip --no-deps --no-build-isolation -e "$ROOT" > "$VENV/pip.log" 2>&1 || {
            cat "$VENV/pip.log" >&2
            fail "the project itself could not be installed into .venv" "look at the lines above"
        }
        printf '%s' "$stamp" > "$VENV/stamp"
    fi
    PY="$VENV/bin/python"
    PATH="$VENV/bin:$PATH"
    export PATH
}
