#!/bin/sh
# Says in a directory which job has which GPU, for `gpu-sentinel serve` and, with `lines=plain`, for
# dcgm-exporter. Slurm runs it twice, by the names of two links to it or with one argument:
#
#   Prolog=/etc/slurm/gpu-sentinel-prolog    writes the job into the file of each of its GPUs
#   Epilog=/etc/slurm/gpu-sentinel-epilog    takes it out of all of them
#
# See docs/slurm.md. A failing prolog drains the node: whatever goes wrong here, the exit code is 0.

PATH=${PATH:-/usr/sbin:/usr/bin:/sbin:/bin}
LC_ALL=C
export PATH LC_ALL

# What may be set in /etc/gpu-sentinel/slurm-jobs (or in the file that GPU_SENTINEL_JOBS_CONF names):
directory=/run/gpu-sentinel/jobs
# The GPUs in the order in which Slurm counts them, where that is not the order of NVML:
# indexes (`gpus="3 5 7"`), `index.instance` of MIG, or UUIDs.
gpus=
# `long` (job=1 user=alice account=physics), or `plain` (1), which is all that dcgm-exporter takes.
lines=long
proc=/proc

say() { printf 'gpu-sentinel-jobs: %s\n' "$*" >&2; }

# One word that means itself: nothing else may get into a line.
is_word() {
    case $1 in
        '' | *[!A-Za-z0-9_.@:+-]*) return 1 ;;
    esac
    [ "${#1}" -le 128 ]
}

is_number() {
    case $1 in
        '' | *[!0-9]* | 0?* | ?????*) return 1 ;;
    esac
}

is_uuid() {
    case $1 in
        GPU-????????* | MIG-????????*) ;;
        *) return 1 ;;
    esac
    case ${1#???-} in
        *[!0-9A-Fa-f-]*) return 1 ;;
    esac
    [ "${#1}" -le 68 ]
}

is_device() {
    is_number "$1" || is_uuid "$1" || { is_number "${1%%.*}" && is_number "${1#*.}"; }
}

# Whether Slurm's numbers can only be NVML's indexes: the driver lists the GPUs by bus address, which
# is NVML's order, and N of /dev/nvidiaN is the place of each; and there is no MIG device, which Slurm
# counts too.
in_order() (
    set +f
    expected=0
    for information in "$proc"/driver/nvidia/gpus/*/information; do
        [ -r "$information" ] || exit 1
        minor=$(sed -n 's/^Device Minor:[[:blank:]]*\([0-9][0-9]*\)[[:blank:]]*$/\1/p' "$information")
        [ "$minor" = "$expected" ] || exit 1
        expected=$((expected + 1))
    done
    for instance in "$proc"/driver/nvidia/capabilities/gpu*/mig/gi*; do
        [ ! -e "$instance" ] || exit 1
    done
)

# Slurm's numbers as what `gpus` says of them.
translated() {
    for number; do
        # shellcheck disable=SC2086 # a list of words
        found=$(is_number "$number" && set -- $gpus && shift "$number" 2>/dev/null && echo "${1:-}")
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
        else
            say "Slurm's GPU $number is not in gpus=\"$gpus\""
        fi
    done
}

# What the job has, by names that may be wrong.
candidates() {
    visible=$(printf '%s' "${CUDA_VISIBLE_DEVICES:-}" | tr ',' ' ')
    numbers=$(printf '%s' "${SLURM_JOB_GPUS:-}" | tr ',' ' ')
    # shellcheck disable=SC2086 # lists of words
    if [ -n "$gpus" ]; then
        translated $numbers
    elif [ "${visible#GPU-}" != "$visible" ] || [ "${visible#MIG-}" != "$visible" ]; then
        # UUIDs: of MIG devices, and of every GPU since Slurm 25.11.
        printf '%s\n' $visible
    elif [ -n "$numbers" ]; then
        if in_order; then
            printf '%s\n' $numbers
        else
            say "which GPU Slurm's numbers mean is not certain here: set gpus= in $conf"
        fi
    fi
}

# The names of the job's files, one a line.
devices() {
    candidates | while read -r device; do
        if is_device "$device"; then
            printf '%s\n' "$device"
        else
            say "not a GPU: $device"
        fi
    done
}

line() {
    if [ "$lines" = plain ]; then
        printf '%s\n' "$job"
        return
    fi
    printf 'job=%s' "$job"
    if is_word "${SLURM_JOB_USER:-}"; then printf ' user=%s' "$SLURM_JOB_USER"; fi
    if is_word "${SLURM_JOB_ACCOUNT:-}"; then printf ' account=%s' "$SLURM_JOB_ACCOUNT"; fi
    printf '\n'
}

# A file without the lines of this job. The empty strings make awk compare text, not numbers.
others() {
    if [ -f "$1" ] && [ ! -h "$1" ]; then
        awk -v job="$job" '$1 "" != job "" && $1 "" != "job=" job' "$1"
    fi
}

# What a reader sees is the file before or the file after, never half of one. Its name begins with a
# dot, so nobody takes it for that of a GPU.
replace() {
    if [ -d "$1" ] && [ ! -h "$1" ]; then
        say "$directory/$1 is a directory"
    elif [ -s "$aside" ]; then
        chmod 644 "$aside" && mv -f "$aside" "$1"
    else
        rm -f "$1" "$aside"
    fi
}

prolog() {
    devices | while read -r device; do
        { others "$device" && line; } >"$aside" && replace "$device"
    done
}

epilog() {
    set +f
    for file in [0-9]* GPU-* MIG-*; do
        if [ -f "$file" ] && [ ! -h "$file" ] && is_device "$file"; then
            others "$file" >"$aside" && replace "$file"
        fi
    done
}

main() {
    conf=${GPU_SENTINEL_JOBS_CONF:-/etc/gpu-sentinel/slurm-jobs}
    if [ -r "$conf" ]; then
        # shellcheck source=/dev/null
        . "$conf"
    fi
    job=${SLURM_JOB_ID:-}
    if ! is_word "$job"; then
        say "SLURM_JOB_ID is no job: $job"
        return
    fi
    if ! mkdir -p "$directory" || ! cd "$directory"; then
        say "cannot use $directory"
        return
    fi
    # Jobs that share a GPU may start and end at once. Where util-linux has no flock, such jobs need
    # PrologFlags=Serial.
    if command -v flock >/dev/null 2>&1; then
        exec 9>.lock
        flock -w 10 9 || say "could not lock $directory"
    fi
    aside=.$job.$$
    case ${1:-${0##*/}} in
        *prolog*) prolog ;;
        *epilog*) epilog ;;
        *) say "call me gpu-sentinel-prolog or gpu-sentinel-epilog, or say which" ;;
    esac
    rm -f "$aside"
}

umask 022
set -f # only where it is said are names of files meant
main "$@"
exit 0
