#!/bin/sh
# `make setup`: a virtual environment with the pinned packages, and the text encoder. Does nothing when nothing changed,
# and goes on where it was interrupted. Needs a POSIX shell and Python 3.11 or 3.12 with its venv module.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
python=$venv/bin/python
done_with=$venv/installed   # copies of the locks whose every line is installed
needed_mb=3500

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

suits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

# Prints the first Python that suits. A name alone proves nothing: a pyenv shim exists for versions that are not active,
# and fails when run; the versions that pyenv holds are therefore looked at too.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or 3.12: name one that is, or leave PYTHON out."
        printf '%s\n' "$PYTHON"
        return
    fi
    without_venv=
    for candidate in python3.11 python3.12 python3 python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[12].*/bin/python3; do
        suits "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
        without_venv=$candidate
    done
    [ -z "$without_venv" ] || fail "$without_venv has no venv module: install it (Debian, Ubuntu: \
apt-get install python3-venv), then run make again."
    fail "Python 3.11 or 3.12 is needed and none was found: install one, or name it: make setup PYTHON=/path/to/python3.11"
}

make_venv() {
    if [ -x "$python" ] && suits "$python" && "$python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    found=$(find_python)
    printf 'setup: making %s with %s\n' "$venv" "$("$found" --version)"
    "$found" -m venv --clear "$venv" || fail "$found could not make $venv: see the lines above."
}

is_done() {
    cmp -s "requirements/$1.lock" "$done_with/$1.lock"
}

check_disk() {
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ "$free_mb" -ge "$needed_mb" ] || fail "the packages take about $needed_mb MB and $free_mb MB are free here: \
free some, then run make again."
}

# What pip leaves when it is killed would pass for installed: a package without RECORD, which is written last, or with
# files that are gone. A name with ~ is an old version put aside while the new one is laid down.
forget_half_installed() {
    "$python" -c 'if True:
        import importlib.metadata, pathlib, shutil, sysconfig
        def whole(found):
            files = found.files
            return files is not None and all(file.suffix == ".pyc" or file.locate().exists() for file in files)
        half = {found._path for found in importlib.metadata.distributions() if not whole(found)}
        for path in half.union(pathlib.Path(sysconfig.get_path("purelib")).glob("~*")):
            shutil.rmtree(path)'
}

pip_install() {
    "$python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@"
}

install() {
    printf 'setup: installing requirements/%s\n' "$1"
    forget_half_installed
    rm -f "$venv/failed"
    { pip_install -r "requirements/$@" || : >"$venv/failed"; } |
        grep -Ev '^ *(Requirement already|Collecting|Looking in|Ignoring|Attempting|Found existing|Uninstalling|Installing|Successfully) ' || :
    if [ -e "$venv/failed" ]; then
        rm -f "$venv/failed"
        fail "not every package could be installed (see above); make again goes on from here."
    fi
}

note_done() {
    mkdir -p "$done_with"
    for lock in "$@"; do
        cp "requirements/$lock.lock" "$done_with/$lock.lock"
    done
}

make_venv
if ! is_done runtime || ! is_done dev; then
    [ -d "$done_with" ] || check_disk
    install dev.lock
    note_done runtime dev
fi
if ! is_done encoder; then
    install encoder.lock --no-deps --require-hashes
    note_done encoder
fi
"$python" manage.py build_encoder
