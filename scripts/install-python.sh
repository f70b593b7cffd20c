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
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
