#!/bin/sh
# Installs the programs beside Python that `make up` (run), `make test` (test) and
# `make test-containers` (containers) use, where they are missing. Asks nothing: as root it
# installs, else it prints the command and goes on.
set -eu
purpose=$1

missing=""
# word splitting is wanted: pairs of program and Debian package
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need prometheus prometheus
command -v alertmanager >/dev/null 2>&1 || need prometheus-alertmanager prometheus-alertmanager
if [ "$purpose" = test ]; then
    need promtool prometheus
    need amtool prometheus-alertmanager
    need openssl openssl
    need shellcheck shellcheck
    need systemd-analyze systemd
    command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
fi
if [ "$purpose" = containers ]; then
    need dockerd docker.io
    need debootstrap debootstrap
    need slurmctld slurmctld
    need slurmd slurmd
    need sbatch slurm-client
fi
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086 # a list of packages
packages=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Not installed: $packages(no apt-get on this machine: install them yourself)" >&2
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Not installed: $packages" >&2
    echo "Run: sudo apt-get install -y --no-install-recommends $packages" >&2
    exit 0
fi
echo "Installing $packages..."
# The distribution starts its own Prometheus on the default port; ours are started by hand.
created=""
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    created=yes
fi
trap '[ -z "$created" ] || rm -f /usr/sbin/policy-rc.d' EXIT
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
