#!/usr/bin/env bash
# Measures gradcode's codec beside the quantizers that PyPI has: speed, wire bits, error and bias, on the
# same vectors, in the same run, on one thread. Prints Markdown tables.
#
#   benches/peers/run.sh [--venv DIR] [--no-install] [measure.py's options]
#
#   --venv DIR     the virtual environment, made if it does not exist
#                  (default: ${XDG_CACHE_HOME:-~/.cache}/gradcode/peers)
#   --no-install   use what is in it
#   --help         this, and measure.py's options
set -euo pipefail
cd "$(dirname "$0")"

say() { printf 'peers: %s\n' "$*" >&2; }
venv=${XDG_CACHE_HOME:-$HOME/.cache}/gradcode/peers
install=1
options=()
while [ $# -gt 0 ]; do
  case "$1" in
    --venv) [ $# -ge 2 ] || { say "error: --venv needs a directory"; exit 2; }; venv=$2; shift 2 ;;
    --no-install) install=; shift ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' run.sh; python3 measure.py --help; exit 0 ;;
    *) options+=("$1"); shift ;;
  esac
done

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
if [ -n "$install" ]; then
  while read -r package; do
    say "installing $package"
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
      "$package" 2> "$venv/pip.log"; then
      say "could not install $package; it is left out ($(tail -n 1 "$venv/pip.log"))"
    fi
  done < <(grep -v '^ *\(#\|$\)' requirements.txt)
fi
if ! "$venv/bin/python" -c 'import numpy' 2> /dev/null; then
  say "error: there is no numpy in $venv, so nothing can be measured"
  say "hint: the packages of benches/peers/requirements.txt come from PyPI; without a network, make the" \
    "environment on a machine that has one and pass it with --venv DIR --no-install"
  exit 1
fi

(cd ../.. && cargo build --quiet --release -p codec-speed --example beside-peers)
target=$(cd ../.. && cargo metadata --format-version 1 --no-deps |
  "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')

# One thread each, and memory that is kept between calls: page faults are nobody's codec.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=67108864
exec "$venv/bin/python" -W ignore measure.py --ours "$target/release/examples/beside-peers" "${options[@]}"
