#!/bin/sh
# Runs a command again and again beside one busy loop for each processor, and says how often it
# failed. Usage: test-under-load.sh RUNS COMMAND [ARGUMENT...]
set -eu
runs=$1
shift
logs=.cache/test-load
mkdir -p "$logs"

loops=""
for _ in $(seq "$(getconf _NPROCESSORS_ONLN)"); do
    sh -c 'while :; do :; done' &
    loops="$loops $!"
done
# shellcheck disable=SC2086 # a list of processes
trap 'kill $loops' EXIT
trap 'exit 130' INT TERM

failed=0
for run in $(seq "$runs"); do
    log="$logs/run-$run.log"
    begin=$(date +%s)
    "$@" >"$log" 2>&1 || failed=$((failed + 1))
    echo "run $run of $runs, $(($(date +%s) - begin)) s: $(tail -n 1 "$log")"
    grep -E '^(FAILED|ERROR) ' "$log" || true
done
echo "$failed of $runs runs failed; their output is in $logs"
[ "$failed" -eq 0 ]
