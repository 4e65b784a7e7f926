#!/bin/sh
# usage: failure.sh SIMULATOR
# A simulator with a bug planted, asked as if it had none: its failure says seed, step and rule below a readable
# trace, and the seed alone shows the same again.
set -eu
simulator=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Runs it; it must fail as a broken rule does.
fails() {
    out=$1
    shift
    status=0
    "$simulator" "$@" >"$out" 2>&1 || status=$?
    if [ "$status" -ne 3 ]; then
        echo "FAILED: $simulator $* ends with $status"
        exit 1
    fi
}

says() {
    if ! grep -Eq "$2" "$1"; then
        echo "FAILED: no line like $2 in:"
        tail -5 "$1"
        exit 1
    fi
}

fails "$dir/first" --seeds 5
says "$dir/first" '^\[ *[0-9.]+ ms\] m[0-9] applier -> watch EVENTS '
says "$dir/first" '^FAILED seed=[0-9]+ step=[0-9]+ time=[0-9.]+s: .'
seed=$(sed -n 's/^FAILED seed=\([0-9]*\) .*/\1/p' "$dir/first")
says "$dir/first" "^again, with the whole trace: sim --seed $seed --trace\$"
lines=$(grep -c '^\[' "$dir/first")
if [ "$lines" -lt 100 ]; then
    echo "FAILED: only $lines lines of trace"
    exit 1
fi

fails "$dir/again" --seed "$seed" --trace
grep '^FAILED' "$dir/first" >"$dir/rule"
if ! grep '^FAILED' "$dir/again" | cmp -s "$dir/rule" -; then
    echo "FAILED: the seed shows something else:"
    cat "$dir/rule"
    grep '^FAILED' "$dir/again" || true
    exit 1
fi
echo "$lines lines of trace, then: $(cat "$dir/rule")"
