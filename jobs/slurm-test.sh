#!/usr/bin/env bash
# The promises of docs/slurm.md, checked with the real program on a simulated Slurm (jobs/slurm-sim.sh).
#
#   jobs/slurm-test.sh               all scenarios
#   jobs/slurm-test.sh NAME...       some of them
#   jobs/slurm-test.sh --list        their names
#
# Where Slurm can neither be found nor installed it says so and passes. Environment:
#   SLURM_TEST=require    fail in that case
#   GRADCODE=PATH         the program; default: cargo's debug build of it
#   KEEP=1                leave the cluster's and the runs' files behind
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$PWD

scenarios=(srun limit signal-srun signal-mpirun walltime chain cancel checkpoint mpirun two-nodes worker-killed sweep gpu node-failure preempt-srun preempt-mpirun)
beside=3 # how many at once, at most
case ${1:-} in
  --list) printf '%s\n' "${scenarios[@]}"; exit 0 ;;
  -h|--help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
esac
for name in "$@"; do
  [[ " ${scenarios[*]} " = *" $name "* ]] || { echo "slurm-test: no scenario $name; one of ${scenarios[*]}" >&2; exit 2; }
done
[ $# -eq 0 ] || scenarios=("$@")

say() { printf 'slurm-test: %s\n' "$*"; }
skip() {
  say "skipped: $*"
  [ "${SLURM_TEST:-}" != require ] || exit 1
  exit 0
}
[ "$(id -u)" = 0 ] || skip "a simulated Slurm needs root"
code=0
jobs/slurm-sim.sh install || code=$?
[ "$code" != 3 ] || skip "Slurm is not installed and cannot be"
[ "$code" = 0 ] || exit "$code"

if [ -z "${GRADCODE:-}" ]; then
  cargo build --quiet -p gradcode --bin gradcode
  GRADCODE=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/gradcode
fi
export GRADCODE GRADCODE_HOME=$repository

# --- a cluster of its own -----------------------------------------------------------------------
work=$(mktemp -d /tmp/slurm-test.XXXXXX)
chmod 755 "$work"
export SLURM_SIM_DIR=$work/sim SLURM_SIM_PORT=$((20000 + $$ % 50 * 200))
export SLURM_SIM_NODES=2 SLURM_SIM_CPUS=16 SLURM_SIM_GPUS=2 SLURM_SIM_REQUEUE=5
finish() {
  local code=$?
  if [ -n "${KEEP:-}" ]; then
    say "kept: $work; stop it with SLURM_SIM_DIR=$work/sim jobs/slurm-sim.sh clean"
  else
    "$repository/jobs/slurm-sim.sh" clean || true
    rm -rf "$work"
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM
jobs/slurm-sim.sh start
eval "$(jobs/slurm-sim.sh env)"
cd "$work"

# Biased compression with memories that the workers keep, and momentum at the master: a state that
# one start must hand to the next in every part. Who is late is drawn: results are reproducible.
cat >experiment.toml <<'TOML'
title = "slurm-test"
seed = 3
workers = 4
partitions = 4
scheme.kind = "coco-ef"
model = { kind = "least-squares", dimension = 200 }
optimizer = { kind = "sgd", momentum = 0.9, learning_rate = 1e-4 }
straggler = { inject = "erase", model = "exponential", rate = [3.0, 2.0, 1.5, 1.0], deadline = 1.0 }
mpi = { silence_timeout_seconds = 8.0, master_timeout_seconds = 8.0 }
checkpoint = { every = { seconds = 2 } }
TOML

# --- helpers --------------------------------------------------------------------------------------
problem() { # problem JOB TEXT: fails the test with what there is to see
  say "FAILED in $scenario: $2"
  scontrol show job "$1" 2>/dev/null | sed 's/^/    /' | grep -E 'JobState|Restarts|RunTime|NodeList=' || true
  local log
  for log in "$work"/*-"$1"*.log; do
    [ ! -e "$log" ] || { say "$log:"; tr '\r' '\n' <"$log" | grep -av '^step ' | tail -n 40 | sed 's/^/    /'; }
  done
  exit 1
}

# submit SBATCH-OPTION... -- JOBFILE ARGUMENT...: sets `job` and `out`; variables are set by the caller
submit() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  local file=$2; shift 2
  job=$(CLUSTER=none sbatch --parsable --ntasks=5 --cpus-per-task=1 --job-name="$scenario" "${options[@]}" \
    "$repository/jobs/$file" experiment.toml "$@")
  out=$work/runs/$scenario-$job
}

record() { scontrol show job "$1" 2>/dev/null | sed -n "s/.*\b$2=\([^ ]*\).*/\1/p" | head -n 1; }

# until_true SECONDS JOB WHAT COMMAND...: polls; a job that ends before that is a failure
until_true() {
  local limit=$((SECONDS + $1)) job=$2 what=$3; shift 3
  until "$@"; do
    [ $SECONDS -lt $limit ] || problem "$job" "not within the time allowed: $what"
    [ "$what" = "$THE_END" ] || ! is_over "$job" || problem "$job" "the job ended before $what"
    sleep 0.2
  done
}

THE_END="the end of the job"
is_over() { # states flicker while a job is requeued
  for _ in 1 2 3; do
    case $(record "$1" JobState) in COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY) sleep 0.3 ;; *) return 1 ;; esac
  done
}
begun() { grep -aq '"running"' "$1/status.json" 2>/dev/null; }
going() { begun "$1" && sleep 1; }
status() { sed -n 's/.*"'"$2"'"[[:space:]]*:[[:space:]]*"\{0,1\}\([a-z0-9]*\).*/\1/p' "$1/status.json" 2>/dev/null | head -n 1; }
starts() { grep -ac ', start [0-9]*: ' "$work/$scenario-$1.log"; }

ends_as() { # ends_as JOB STATE [SECONDS]
  until_true "${3:-90}" "$1" "$THE_END" is_over "$1"
  [ "$(record "$1" JobState)" = "$2" ] || problem "$1" "the job is $(record "$1" JobState), expected $2"
}

# same_as_uninterrupted JOB OUT ITERATIONS: parameters to the last bit, and every iteration's loss
same_as_uninterrupted() {
  local reference=$work/reference-$scenario-$3
  [ "$(status "$2" exit_code)" = 0 ] || problem "$1" "status.json says $(tr -d '\n' <"$2/status.json")"
  if [ ! -d "$reference" ]; then
    "$GRADCODE" simulate experiment.toml --set iterations="$3" --out "$reference" >"$reference.log" 2>&1 ||
      { cat "$reference.log"; problem "$1" "the reference run failed"; }
    "$GRADCODE" report "$reference" --csv --series loss >"$reference/loss.csv"
  fi
  cmp "$2/model.safetensors" "$reference/model.safetensors" ||
    problem "$1" "the parameters are not those of an uninterrupted run"
  "$GRADCODE" report "$2" --csv --series loss >"$2/loss.csv"
  cmp "$2/loss.csv" "$reference/loss.csv" ||
    problem "$1" "the losses are not those of an uninterrupted run"
}

# --- scenarios ------------------------------------------------------------------------------------
rate=300 # iterations per second; the first scenario measures it
long() { echo $(($1 * rate)); } # iterations for about this many seconds

uninterrupted() { # uninterrupted LAUNCHER NODES
  local begin
  LAUNCHER=$1 submit --nodes="$2" -- train-cpu.sbatch --set iterations=1500
  until_true 60 "$job" "the run's begin" begun "$out"
  begin=$(date +%s%N)
  ends_as "$job" COMPLETED
  rate=$((1500 * 1000 / (($(date +%s%N) - begin) / 1000000)))
  same_as_uninterrupted "$job" "$out" 1500
  did="$(head -c 4 <<<"$rate") rounds per second"
}
run_srun() { uninterrupted srun 1; }
run_mpirun() { uninterrupted mpirun 1; }
run_two-nodes() { uninterrupted mpirun 2; }

requeued() { # requeued JOB OUT ITERATIONS: through at least one more start, to the right end
  ends_as "$1" COMPLETED 180
  [ "$(record "$1" Restarts)" -ge 1 ] || problem "$1" "it was never requeued"
  [ "$(starts "$1")" = $(($(record "$1" Restarts) + 1)) ] || problem "$1" "$(starts "$1") starts, $(record "$1" Restarts) requeues"
  same_as_uninterrupted "$1" "$2" "$3"
  did="$(starts "$1") starts"
}

# USR1 to the batch script, by hand
interrupted() { # interrupted LAUNCHER NODES
  local n; n=$(long 6)
  LAUNCHER=$1 submit --nodes="$2" -- train-cpu.sbatch --set iterations="$n"
  until_true 60 "$job" "the run's begin" going "$out"
  scancel --signal=USR1 --batch "$job"
  requeued "$job" "$out" "$n"
}
run_signal-srun() { interrupted srun 2; }
run_signal-mpirun() { interrupted mpirun 2; }

# No signal at all: the run watches the clock
run_walltime() {
  local n; n=$(long 14)
  RESERVE_SECONDS=50 submit --nodes=1 --time=1 --signal=B:USR2@1 -- train-cpu.sbatch --set iterations="$n"
  requeued "$job" "$out" "$n"
}

# Another job takes the nodes: out of the way with a checkpoint, and on when they are free again
preempted() { # preempted LAUNCHER
  local n; n=$(long 6)
  LAUNCHER=$1 submit --nodes=2 --partition=preemptible -- train-cpu.sbatch --set iterations="$n"
  until_true 60 "$job" "the run's begin" going "$out"
  sbatch --parsable --nodes=2 --exclusive --output=/dev/null --wrap "sleep 1" >/dev/null
  until_true 30 "$job" "the preemption" restarted "$job"
  [ "$(status "$out" exit_code)" = 85 ] || problem "$job" "status.json says $(tr -d '\n' <"$out/status.json")"
  requeued "$job" "$out" "$n"
}
restarted() { [ "$(record "$1" Restarts)" = 1 ]; }
run_preempt-srun() { preempted srun; }
run_preempt-mpirun() { preempted mpirun; }

# Jobs lined up beforehand, where requeueing is forbidden: the first is stopped by the clock, the second
# goes on, and the third finds nothing to do
run_chain() {
  local n jobs=() k; n=$(long 14)
  for k in 1 2 3; do
    OUT=$work/runs/chain MAX_REQUEUES=0 RESERVE_SECONDS=$((k == 1 ? 50 : 1)) submit --nodes=1 --dependency=singleton \
      --time=$((k == 1 ? 1 : 5)) --signal=B:USR2@1 -- train-cpu.sbatch --set iterations="$n"
    jobs+=("$job")
  done
  out=$work/runs/chain
  ends_as "${jobs[0]}" FAILED
  [ "$(record "${jobs[0]}" ExitCode)" = 85:0 ] || problem "${jobs[0]}" "its exit code is $(record "${jobs[0]}" ExitCode), expected 85:0"
  ends_as "${jobs[1]}" COMPLETED
  same_as_uninterrupted "${jobs[1]}" "$out" "$n"
  ends_as "${jobs[2]}" COMPLETED
  same_as_uninterrupted "${jobs[2]}" "$out" "$n"
}

run_checkpoint() {
  local n; n=$(long 5)
  submit --nodes=1 -- train-cpu.sbatch --set iterations="$n" --set checkpoint.every.seconds=1000
  until_true 60 "$job" "the run's begin" going "$out"
  [ ! -e "$out/checkpoints" ] || problem "$job" "there is a checkpoint before any was due"
  scancel --signal=USR2 --batch "$job"
  until_true 30 "$job" "a checkpoint after USR2" compgen -G "$out/checkpoints/*/DONE" >/dev/null
  ends_as "$job" COMPLETED
  [ "$(record "$job" Restarts)" = 0 ] || problem "$job" "USR2 ended the run"
  same_as_uninterrupted "$job" "$out" "$n"
}

# scancel ends the job for good, in good order; a new job with the same OUT goes on
run_cancel() {
  local n first; n=$(long 6)
  submit --nodes=2 -- train-cpu.sbatch --set iterations="$n"
  first=$out
  until_true 60 "$job" "the run's begin" going "$out"
  scancel "$job"
  ends_as "$job" CANCELLED
  [ "$(status "$out" exit_code)" = 85 ] || problem "$job" "status.json says $(tr -d '\n' <"$out/status.json")"
  "$GRADCODE" report "$out" >/dev/null || problem "$job" "the log is not readable"
  sleep 1
  [ "$(record "$job" JobState)" = CANCELLED ] || problem "$job" "it was requeued"
  OUT=$first submit --nodes=1 -- train-cpu.sbatch --set iterations="$n"
  ends_as "$job" COMPLETED
  same_as_uninterrupted "$job" "$first" "$n"
}

# A node loses its power: Slurm itself starts the job again, from the last checkpoint
run_node-failure() {
  local n; n=$(long 8)
  submit --nodes=2 -- train-cpu.sbatch --set iterations="$n"
  until_true 60 "$job" "a checkpoint" compgen -G "$out/checkpoints/*/DONE" >/dev/null
  "$repository/jobs/slurm-sim.sh" fail n1
  until_true 30 "$job" "the requeue" restarted "$job"
  "$repository/jobs/slurm-sim.sh" start
  requeued "$job" "$out" "$n"
}

# A dead rank is a straggler, also one on another node, under both launchers
run_worker-killed() {
  local launcher process
  for launcher in srun mpirun; do
    LAUNCHER=$launcher submit --nodes=2 -- train-cpu.sbatch --set iterations="$(long 6)"
    until_true 60 "$job" "the run's begin" going "$out"
    process=$(rank_process 4 "$out")
    [ -n "$process" ] || problem "$job" "no process of rank 4 to kill"
    kill -9 "$process"
    ends_as "$job" COMPLETED
    [ "$(status "$out" exit_code)" = 0 ] || problem "$job" "status.json says $(tr -d '\n' <"$out/status.json")"
    grep -q '"worker": 3' "$out/status.json" || problem "$job" "worker 3 is not among the lost"
  done
}
rank_process() { # rank_process RANK OUT
  local directory
  for directory in /proc/[0-9]*; do
    if [ "$(cat "$directory/comm" 2>/dev/null)" = gradcode ] &&
      grep -qzF -- "${2#"$work/"}" "$directory/cmdline" 2>/dev/null &&
      grep -qzx "PMIX_RANK=$1" "$directory/environ" 2>/dev/null; then
      basename "$directory"
    fi
  done
}

# Options from a file; a signal to one task stops and requeues that task alone, although the last
# task has the number of the whole array
run_sweep() {
  local k task
  printf '%s\n' '# comment' "--set seed={task} --set iterations=$(long 5)" '' '--set title="two words" --set iterations='"$(long 5)" >sweep.txt
  SWEEP=$work/sweep.txt submit --nodes=1 --array=1-2 -- sweep.sbatch
  until_true 60 "${job}_2" "the task's begin" going "$out/2"
  scancel --signal=USR1 --batch "${job}_2"
  for k in 1 2; do
    task=${job}_$k
    ends_as "$task" COMPLETED
    [ "$(status "$out/$k" exit_code)" = 0 ] || problem "$task" "no good end of task $k in $out/$k"
    [ "$(record "$task" Restarts)" = $((k - 1)) ] || problem "$task" "task $k was started again $(record "$task" Restarts) times"
  done
  grep -q '^seed = 1$' "$out/1/config.toml" || problem "$job" "{task} is not the task's number"
  grep -q '^title = "two words"$' "$out/2/config.toml" || problem "$job" "task 2 lost its quotes, or did not take its line"
  same_as_uninterrupted "${job}_2" "$out/2" "$(long 5)"
}

# The GPU job file on pretended GPUs: the layout only
run_gpu() {
  # shellcheck disable=SC2016 # expanded by each rank
  printf '#!/bin/sh\necho "rank $PMIX_RANK on $(hostname) sees $CUDA_VISIBLE_DEVICES"\nexec %q "$@"\n' "$GRADCODE" >see
  chmod 755 see
  GRADCODE=$work/see submit --nodes=2 --ntasks-per-node=3 --gpus-per-node=2 -- train-gpu.sbatch --set iterations=300
  ends_as "$job" COMPLETED
  local expected; expected=$(printf 'rank %d on n%d sees 0,1\n' 0 0 1 0 2 0 3 1 4 1)
  [ "$(grep -a '^rank' "$work/$scenario-$job.log" | sort)" = "$expected" ] || problem "$job" "ranks are elsewhere, or see other GPUs"
  same_as_uninterrupted "$job" "$out" 300
}

# Slurm's own USR1, ahead of the time limit. It looks for jobs to warn every 30 s; one warning will do.
run_limit() {
  local n; n=$(long 45)
  submit --nodes=2 --time=1 --signal=B:USR1@50 -- train-cpu.sbatch --set iterations="$n"
  until_true 60 "$job" "the requeue" restarted "$job"
  scontrol update jobid="$job" TimeLimit=10
  requeued "$job" "$out" "$n"
  grep -aq 'USR1: stop' "$work/$scenario-$job.log" || problem "$job" "Slurm never sent USR1"
}

# --- all of it --------------------------------------------------------------------------------------
# Jobs mostly wait (for Slurm, for each other's headers), so several scenarios share the cluster; not
# those that measure or break it.
alone() { [[ " srun node-failure preempt-srun preempt-mpirun " = *" $1 "* ]]; }

play() { # play NAME: runs one scenario and says how it went
  local begin=$SECONDS
  scenario=$1 did=
  "run_$1"
  printf 'ok  %-14s %3d s  %s\n' "$1" $((SECONDS - begin)) "$did"
}
collect() { # waits for one of those that run beside each other
  wait -n || failed=1
  running=$((running - 1))
}

began=$SECONDS running=0 failed=
for name in "${scenarios[@]}"; do
  if alone "$name"; then
    while [ $running -gt 0 ]; do collect; done
    [ -z "$failed" ] || break
    play "$name"
  else
    [ $running -lt "$beside" ] || collect
    [ -z "$failed" ] || break
    play "$name" &
    running=$((running + 1))
  fi
done
while [ $running -gt 0 ]; do collect; done
[ -z "$failed" ] || exit 1
say "${#scenarios[@]} scenarios, $((SECONDS - began)) s"
