#!/bin/sh
# Makes the virtual environment that the make targets use. Usage: install-python.sh DIRECTORY
set -eu
venv=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "make: Python 3.10 or newer is needed as $python; name another with PYTHON=..." >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
        echo "make: Python's venv module is missing. Run: sudo apt-get install -y python3-venv" >&2
        exit 1
    fi
fi
echo "Setting up $venv ..."
"$python" -m venv "$venv"
pip() { "$venv/bin/pip" --disable-pip-version-check --quiet "$@"; }
# The same versions everywhere, each file of which is checked against its hash.
pip install --require-hashes --requirement requirements/dev.txt
pip install --no-deps --no-build-isolation --editable .
