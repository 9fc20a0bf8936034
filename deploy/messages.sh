#!/bin/sh
# The sentences people see: collect them from the sources, merge them into each catalogue, compile the catalogues.
# click's own words are collected, too, since they appear between ours.
#
#   sh deploy/messages.sh            collect, merge, compile
#   sh deploy/messages.sh compile    compile only
#   sh deploy/messages.sh template   print the collected sentences (.pot)
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
locales=feeds/locale

template() {
    click=$("$PYTHON" -c 'import click, pathlib; print(pathlib.Path(click.__file__).parent)')
    "$PYTHON" -m babel.messages.frontend -q extract --no-location --sort-output --width=120 \
        --no-default-keywords -k _ -k N_ -k plural:1,2 -k ngettext:1,2 -k gettext -o "$1" blocker feeds resolver "$click"
}

case "${1:-all}" in
template) template /dev/stdout | cat ;;
compile)
    "$PYTHON" -m babel.messages.frontend -q compile -D blocker -d "$locales"
    ;;
all)
    pot=$(mktemp)
    trap 'rm -f "$pot"' EXIT
    template "$pot"
    # Without fuzzy guesses: a sentence that was changed is untranslated until a person has translated it.
    "$PYTHON" -m babel.messages.frontend -q update -D blocker -d "$locales" -i "$pot" --no-fuzzy-matching \
        --ignore-obsolete --ignore-pot-creation-date --width=120
    "$PYTHON" -m babel.messages.frontend -q compile -D blocker -d "$locales" --statistics
    ;;
*)
    sed -n '2,8p' "$0" >&2
    exit 2
    ;;
esac
