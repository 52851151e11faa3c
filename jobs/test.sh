#!/usr/bin/env bash
# Set-up, then every check and test of the project, with the time each stage took.
set -euo pipefail
cd "$(dirname "$0")/.."

# A full run's target directory has 1.8 GB. What incremental compilation keeps for the next edit had grown to 10 GB more
# after some runs, and filled a disk.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

started=$SECONDS
stage() { # stage NAME COMMAND...
  local name=$1 begin=$SECONDS; shift
  printf '== %s\n' "$name"
  if ! "$@"; then printf '== %s FAILED after %d s\n' "$name" $((SECONDS - begin)); exit 1; fi
  printf '== %s: %d s\n' "$name" $((SECONDS - begin))
}

scripts() {
  local file
  for file in jobs/*.sh jobs/*.sbatch jobs/machines/*.sh .ci/run; do bash -n "$file" || return 1; done
  if command -v shellcheck >/dev/null; then
    shellcheck --external-sources --severity=warning jobs/*.sh jobs/*.sbatch jobs/machines/*.sh .ci/run
  else
    echo "shellcheck is not installed: only the syntax was checked"
  fi
}

stage "set-up" jobs/setup.sh
stage "scripts" scripts
stage "format" cargo fmt --check
stage "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
. jobs/mpi-env.sh
stage "tests" cargo test --workspace --quiet --no-fail-fast
stage "byte-pair encoding" cargo test --quiet -p tokens --features bpe
stage "lints of byte-pair encoding" cargo clippy -p gradcode --features bpe --quiet -- -D warnings
stage "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
stage "slurm" jobs/slurm-test.sh
printf '== all stages: %d s\n' $((SECONDS - started))
