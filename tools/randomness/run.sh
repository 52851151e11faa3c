#!/usr/bin/env bash
# Runs the battery of dieharder (Diehard's tests, NIST's STS, its own) on the bits that stochastic rounding
# draws, by default for both generators in three orders (crates/gradient-codec/examples/random_bits.rs).
#
#   tools/randomness/run.sh                         all six streams, an hour or two each
#   tools/randomness/run.sh ars "workers iterations"
#
# Prints every p-value, and counts what dieharder calls WEAK (p below 0.005 or above 0.995: one in a hundred
# of a perfect generator's) and FAILED (1e-6). Left out of the count are diehard_opso, _oqso, _dna and _sums,
# which dieharder itself lists as "suspect" or "do not use" (dieharder -l). Exit 1 if another test failed.
# Needs dieharder (Debian: apt-get install dieharder).
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-}" in -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
command -v dieharder >/dev/null || { echo "randomness: there is no dieharder on the PATH (Debian: apt-get install dieharder)" >&2; exit 30; }
bits() { cargo run --release --quiet -p gradient-codec --example random_bits -- "$@"; }

generators=${1:-ars philox}
orders=${2:-coordinates workers iterations}
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for generator in $generators; do
  for order in $orders; do
    printf '# %s, %s\n' "$generator" "$order"
    bits "$generator" "$order" | dieharder -a -g 200 # the example ends when nobody reads on
  done
done | tee "$results"

counted() { grep -v -E 'diehard_(opso|oqso|dna|sums)' "$results" | grep -c -E "$1" || true; }
printf '%d p-values, %d weak, %d failed\n' "$(counted 'PASSED|WEAK|FAILED')" "$(counted WEAK)" "$(counted FAILED)"
[ "$(counted FAILED)" = 0 ]
