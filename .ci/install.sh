#!/bin/sh
# Installs into the virtual environment, which is made where it is missing or was left half made:
#   sh .ci/install.sh PYTHON FOLDER pip-arguments …
# FOLDER/.installing is there until pip has ended and left only whole packages; make starts over where it finds it.
set -eu
python=$1 folder=$2
shift 2

# pip writes the RECORD of a package last, so that what it was interrupted in, itself first of all, has none.
is_whole() {
    "$folder/bin/python" -c '' 2>/dev/null || return 1
    ls "$folder"/lib/python*/site-packages/pip-*.dist-info/RECORD >/dev/null 2>&1 || return 1
    for package in "$folder"/lib/python*/site-packages/*.dist-info; do
        [ -e "$package/RECORD" ] || return 1
    done
}

if [ -e "$folder" ] && [ ! -e "$folder/.installing" ] && ! is_whole; then
    echo "$folder is there, and was not made by this: it has no pip, or a package without its RECORD. Remove it, or move it away." >&2
    exit 1
fi
if ! is_whole; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11" >&2
        exit 1
    }
    # Debian ships Python without the part of venv that brings pip
    "$python" -c 'import venv; from ensurepip import bootstrap' 2>/dev/null || {
        echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
    rm -rf "$folder"
    mkdir -p "$folder" && touch "$folder/.installing" # from here on it is ours, whatever interrupts this
    trap 'rm -rf "$folder"; exit 130' INT TERM
    "$python" -m venv "$folder" || {
        rm -rf "$folder"
        exit 1
    }
    trap - INT TERM
fi
touch "$folder/.installing"
status=0
"$folder/bin/python" -m pip --disable-pip-version-check install "$@" || status=$?
if is_whole; then rm -f "$folder/.installing"; fi
exit $status
