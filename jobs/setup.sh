#!/usr/bin/env bash
# Installs what gradcode builds with: MPI, HDF5, OpenBLAS, libclang and libtorch.
#
#   jobs/setup.sh            do it
#   jobs/setup.sh --check    only say what is missing; exit 1 if something is
#
# It is idempotent and takes a second when nothing is missing. Needed beforehand: a Rust toolchain
# (it says how to get one), python3, and on machines without root the site's modules.
#
# Environment it respects:
#   LIBTORCH        an existing libtorch 2.11 (a directory with lib/ and include/); nothing is downloaded
#   GRADCODE_CACHE  where the downloaded libtorch lives, shared by all clones
#                   (default: ${XDG_CACHE_HOME:-~/.cache}/gradcode)
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.11.0
cache=${GRADCODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gradcode}
check_only=
case "${1:-}" in
  "") ;;
  --check) check_only=1 ;;
  -h|--help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "setup: unknown option $1 (see --help)" >&2; exit 2 ;;
esac

say()  { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$1" >&2; shift; for hint in "$@"; do printf 'setup: hint: %s\n' "$hint" >&2; done; exit 30; }

# --- Rust -------------------------------------------------------------------------------------
command -v cargo >/dev/null || fail "there is no Rust toolchain (cargo) on the PATH" \
  "get one from https://rustup.rs: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"

# --- system libraries -------------------------------------------------------------------------
# tool or file to look for : Debian package : what a cluster calls it
missing_packages=()
missing_words=()
have() { # have DEBIAN-PACKAGE WORDS TEST...
  local package=$1 words=$2; shift 2
  if ! "$@" >/dev/null 2>&1; then missing_packages+=("$package"); missing_words+=("$words"); fi
}
pc() { PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-} pkg-config --exists "$@"; }
find_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || command -v llvm-config || ls /usr/lib/llvm-*/lib/libclang*.so* || ldconfig -p | grep -q 'libclang'
}
have build-essential  "a C and C++ compiler"             command -v g++
have pkg-config       "pkg-config"                       command -v pkg-config
have libopenmpi-dev   "MPI (module load openmpi)"        command -v mpicc
have openmpi-bin      "an MPI launcher (mpirun)"         command -v mpirun
have libhdf5-dev      "HDF5 1.10 or later (module load hdf5)" sh -c 'pkg-config --exists hdf5 || pkg-config --exists hdf5-serial || command -v h5cc || [ -n "${HDF5_DIR:-}" ]'
have libopenblas-dev  "OpenBLAS (module load openblas)"  sh -c 'pkg-config --exists openblas || ldconfig -p | grep -q libopenblas || [ -n "${OPENBLAS_PATH:-}" ]'
have libclang-dev     "libclang, for bindgen (module load llvm; LIBCLANG_PATH)" find_libclang
have python3          "python3"                          command -v python3
if [ -z "${LIBTORCH:-}" ] && [ ! -e "$cache/libtorch-$torch_version/torch/lib/libtorch.so" ]; then
  have python3-pip    "pip for python3"                  python3 -m pip --version
fi

if [ ${#missing_packages[@]} -gt 0 ]; then
  say "missing: $(IFS=';'; echo "${missing_words[*]}" | sed 's/;/; /g')"
  [ -z "$check_only" ] || exit 1
  sudo=
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=none; fi
  fi
  if ! command -v apt-get >/dev/null || [ "$sudo" = none ]; then
    fail "cannot install them here without apt and root" \
      "on a cluster, load the modules named above (see 'module avail') and run jobs/setup.sh again" \
      "on Debian or Ubuntu: sudo apt-get install ${missing_packages[*]}"
  fi
  say "installing ${missing_packages[*]}"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
fi

# --- libtorch ---------------------------------------------------------------------------------
# From PyPI's torch wheel, in pip's own directory layout: the libraries find each other through
# relative paths. Only the libraries are installed, not torch's Python dependencies.
if [ -n "${LIBTORCH:-}" ]; then
  [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || fail "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.so" \
    "unset LIBTORCH to have libtorch $torch_version downloaded, or point it to a libtorch $torch_version"
  torch=$LIBTORCH
else
  home=$cache/libtorch-$torch_version
  if [ ! -e "$home/torch/lib/libtorch.so" ]; then
    [ -z "$check_only" ] || { say "missing: libtorch $torch_version"; exit 1; }
    say "downloading libtorch $torch_version from PyPI (about 2 GB, once per user) into $home"
    mkdir -p "$cache"
    partial=$(mktemp -d "$cache/.libtorch-$torch_version.XXXXXX")
    trap 'rm -rf "$partial"' EXIT
    pip() { python3 -m pip --disable-pip-version-check install --quiet --root-user-action=ignore --no-warn-script-location --no-compile --target "$partial" "$@"; }
    pip --no-deps "torch==$torch_version" || fail "pip could not install torch==$torch_version" \
      "python3 --version must be 3.10 to 3.14; PyPI must be reachable" "or set LIBTORCH to an existing libtorch $torch_version"
    # The CUDA libraries that even the CPU part is linked to, as the wheel itself lists them.
    mapfile -t cuda < <(sed -n 's/^Requires-Dist: \(\(nvidia\|cuda-toolkit\).*\)$/\1/p' "$partial"/torch-*.dist-info/METADATA)
    if [ ${#cuda[@]} -gt 0 ]; then pip "${cuda[@]}" || fail "pip could not install the CUDA libraries of torch==$torch_version"; fi
    chmod 755 "$partial"
    if ! mv -T "$partial" "$home" 2>/dev/null && [ ! -e "$home/torch/lib/libtorch.so" ]; then
      fail "cannot move the download to $home" "remove that directory and run jobs/setup.sh again"
    fi # otherwise another clone was faster, and its copy serves as well
  fi
  torch=$home/torch
fi
if [ "$(readlink third-party/libtorch 2>/dev/null)" != "$torch" ]; then
  [ -z "$check_only" ] || { say "missing: the link third-party/libtorch"; exit 1; }
  mkdir -p third-party
  ln -sfn "$torch" third-party/libtorch
fi
say "ready (libtorch: $torch)"
