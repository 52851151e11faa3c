#!/usr/bin/env bash
# From a fresh clone to a trained detector: set up, build, make a small data set, train under
# mpirun with 1 master and 4 worker ranks of which some straggle, and draw the run.
#
#   jobs/quickstart.sh [CONFIG] [gradcode train options...]
#
# CONFIG defaults to configs/quickstart.toml. Everything goes below runs/ and data/.
set -euo pipefail
cd "$(dirname "$0")/.."

config=configs/quickstart.toml
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then config=$1; shift; fi

jobs/setup.sh
cargo build --release --quiet --bin gradcode
gradcode=${CARGO_TARGET_DIR:-target}/release/gradcode

if [ ! -e data/quickstart/instances_train.json ]; then
  "$gradcode" data synth --out data/quickstart
fi

. jobs/mpi-env.sh
run=runs/$(basename "$config" .toml)
mpirun -n 5 "${mpirun_options[@]}" "$gradcode" train "$config" --out "$run" --overwrite "$@"
"$gradcode" report "$run" --svg "$run/figures"
