# shellcheck shell=bash
# Sourced by the job files (train-cpu.sbatch, train-gpu.sbatch, sweep.sbatch), not run: launches
# `gradcode train`, passes signals on, and puts the job back into the queue when there is more to do.
# docs/slurm.md explains every step and every variable.
#
# The job file sets
#   home      the directory that jobs/ is in
#   cluster   the default of CLUSTER
# and passes on its arguments: EXPERIMENT and options of `gradcode train`.

say()  { printf '%s: %s\n' "${SLURM_JOB_NAME:-gradcode}" "$*"; }
fail() { # fail CODE MESSAGE [HINT]
  printf '%s: error: %s\n' "${SLURM_JOB_NAME:-gradcode}" "$2" >&2
  [ $# -lt 3 ] || printf '%s: hint: %s\n' "${SLURM_JOB_NAME:-gradcode}" "$3" >&2
  exit "$1"
}

# --- signals, which may come at any time --------------------------------------------------------
listening='' pending='' cancelled=''
deliver() { # deliver SIGNAL: to the ranks, as soon as they listen; before that they would die of it
  if [ -n "$listening" ]; then kill -s "$1" "$ranks" 2>/dev/null; else pending+=" $1"; fi
}
trap 'say "USR1: stop at the next round, with a checkpoint"; deliver USR1' USR1
trap 'say "USR2: write a checkpoint and go on"; deliver USR2' USR2
# Slurm gives TERM to the ranks as well; passed on to srun it would kill them at once.
trap 'cancelled=1; say "TERM: cancelled, preempted, or beyond the time limit"' TERM

# --- the job --------------------------------------------------------------------------------------
home=${home:?is set by the job file}
job=${SLURM_JOB_ID:-}
# One task of an array has the number of the whole array as its own: what is said of it must not go for all.
[ -z "${SLURM_ARRAY_TASK_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
restarts=${SLURM_RESTART_COUNT:-0}
threads=${SLURM_CPUS_PER_TASK:-1}
tasks=${SLURM_NTASKS:-1}
[ -n "$job" ] || fail 2 "there is no SLURM_JOB_ID: this is not a Slurm job" "sbatch $0 EXPERIMENT; without Slurm: mpirun -n 5 gradcode train EXPERIMENT"
[ "$tasks" -gt 1 ] || fail 2 "one task is a master without workers" "sbatch --ntasks=N with one task for the master and one for each worker"
cd "${SLURM_SUBMIT_DIR:-.}" || fail 30 "cannot enter SLURM_SUBMIT_DIR=${SLURM_SUBMIT_DIR:-}"

# --- the machine: modules, launcher, options --------------------------------------------------
# The profile is MACHINE's, or the one named after the cluster (ClusterName in slurm.conf) if there is one.
profile=${MACHINE:-${SLURM_CLUSTER_NAME:-}}
case $profile in
  */*) ;;
  "") profile=/nonexistent ;;
  *) profile=$home/jobs/machines/$profile.sh ;;
esac
launcher='' srun_options=() mpirun_options=()
if [ -r "$profile" ]; then
  say "machine profile $profile"
  # shellcheck disable=SC1090 # chosen at run time
  . "$profile" || fail 30 "the machine profile $profile failed"
elif [ -n "${MACHINE:-}" ]; then
  fail 2 "MACHINE=$MACHINE: there is no $profile" "one of: $(cd "$home/jobs/machines" && echo *.sh), or a path with a slash"
fi

launcher=${LAUNCHER:-$launcher}
if [ -z "$launcher" ]; then
  # Without its own kind of PMI under srun, every rank of an MPI program is a world of one.
  if srun --mpi=list 2>&1 | grep -qw pmix; then launcher=srun; else launcher=mpirun; fi
fi
case $launcher in
  srun)
    [ ${#srun_options[@]} -gt 0 ] || srun_options=(--mpi=pmix --cpu-bind=cores)
    # A rank that died is a straggler for ever; the others go on.
    launch=(srun --ntasks="$tasks" --kill-on-bad-exit=0 "${srun_options[@]}")
    # From Slurm 22.05 on, srun does not inherit --cpus-per-task from sbatch.
    export SRUN_CPUS_PER_TASK=$threads
    ;;
  mpirun)
    case "$(mpirun --version 2>/dev/null)" in
      *"Open MPI"*|*OpenRTE*)
        # Left to itself mpirun pins one or two ranks per node to one core each, and all threads of a
        # rank pile up there; PE=n gives each rank its n cores.
        [ ${#mpirun_options[@]} -gt 0 ] || mpirun_options=(--map-by "slot:PE=$threads" --bind-to core)
        launch=(mpirun -n "$tasks" --enable-recovery "${mpirun_options[@]}")
        ;;
      "") fail 30 "there is no mpirun on the PATH" "load the MPI module in a machine profile (docs/slurm.md)" ;;
      *) launch=(mpirun -n "$tasks" "${mpirun_options[@]}") ;;
    esac
    ;;
  *) fail 2 "LAUNCHER=$launcher: expected srun or mpirun" ;;
esac

gradcode=${GRADCODE:-$home/target/release/gradcode}
[ -x "$gradcode" ] || fail 30 "no program at $gradcode" "cargo build --release there, or set GRADCODE"

# libtorch's OpenMP takes this as the upper end; `compute.threads` in the configuration decides.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}
# Every rank has an MPI thread beside the computing ones: threads that wait must not spin.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# --- what to train, and where to ---------------------------------------------------------------
arguments=("$@")
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  out=${OUT:-runs/${SLURM_JOB_NAME:-gradcode}-$SLURM_ARRAY_JOB_ID}/$SLURM_ARRAY_TASK_ID
  if [ -n "${SWEEP:-}" ]; then
    line=$(grep -Ev '^[[:space:]]*(#|$)' "$SWEEP" | sed -n "${SLURM_ARRAY_TASK_ID}p")
    [ -n "$line" ] || fail 2 "SWEEP=$SWEEP has no line $SLURM_ARRAY_TASK_ID (comments and empty lines do not count)" \
      "--array=1-$(grep -Ecv '^[[:space:]]*(#|$)' "$SWEEP")"
    # Quotes group words as in a shell; nothing else is expanded.
    mapfile -d '' -t words < <(xargs printf '%s\0' <<<"$line")
    arguments+=("${words[@]}")
  fi
  arguments=("${arguments[@]//\{task\}/$SLURM_ARRAY_TASK_ID}")
else
  out=${OUT:-runs/${SLURM_JOB_NAME:-gradcode}-$SLURM_JOB_ID}
fi

# The first launch takes --overwrite and --resume as given, later ones continue what it began.
given=("${arguments[@]}") arguments=() overwrite='' resume=auto has_cluster='' skip=''
for word in "${given[@]}"; do
  case $skip$word in
    resume*) resume=$word skip='' ;;
    --overwrite) overwrite=1 ;;
    --resume) skip=resume ;;
    --resume=*) resume=${word#--resume=} ;;
    --out|--out=*) fail 2 "the job files take the run directory from the variable OUT" "OUT=DIR sbatch ..." ;;
    --cluster|--cluster=*) has_cluster=1; arguments+=("$word") ;;
    *) arguments+=("$word") ;;
  esac
done
[ ${#arguments[@]} -gt 0 ] || fail 2 "no experiment" "sbatch jobs/NAME.sbatch EXPERIMENT [--cluster FILE] [--set KEY=VALUE]..."
cluster=${CLUSTER:-$cluster}
[ -n "$has_cluster" ] || [ "$cluster" = none ] || arguments+=(--cluster "$cluster")

record() { # record PATTERN: what Slurm has to say of this job
  scontrol show job "$job" 2>/dev/null | sed -n "s/.*\b$1.*/\1/p" | head -n 1
}

# status.json is replaced when the run begins and when it ends: what an earlier start said in it must not
# be taken for what this one says.
status_version() { stat -c '%i %y' "$out/status.json" 2>/dev/null; }
status_field() { # status_field NAME: a number from status.json, or nothing
  sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*\([0-9][0-9]*\).*/\1/p' "$out/status.json" 2>/dev/null | head -n 1
}

if [ "$restarts" = 0 ] && [ -n "$overwrite" ]; then
  arguments+=(--overwrite)
else
  [ "$restarts" = 0 ] || resume=auto
  arguments+=(--resume "$resume")
fi

# --- time --------------------------------------------------------------------------------------
# The run stops by itself before the limit, should the signal get lost.
reserve=${RESERVE_SECONDS:-60}
ends=$(record 'EndTime=\([0-9T:-]*\)')
if [ -n "$ends" ] && ends=$(date -d "$ends" +%s 2>/dev/null); then
  left=$((ends - $(date +%s) - reserve))
  if [ "$left" -gt 0 ]; then
    arguments+=(--max-walltime "$left")
  else
    say "warning: RESERVE_SECONDS=$reserve leaves nothing of the time limit; only the signal will stop the run"
  fi
fi

# --- launch --------------------------------------------------------------------------------------
say "job $job, start $((restarts + 1)): $tasks ranks x $threads threads on ${SLURM_JOB_NODELIST:-$(hostname)}, $launcher, $out"
mkdir -p "$out" || fail 30 "cannot create $out"
[ "$restarts" != 0 ] || rm -f "$out/.requeued-at"
status_before=$(status_version)

# In the background, so that the shell can react to signals.
"${launch[@]}" "$gradcode" train "${arguments[@]}" --out "$out" &
ranks=$!
# The run says in status.json that it has begun, and listens from then on.
until [ "$(status_version)" != "$status_before" ] || ! kill -0 "$ranks" 2>/dev/null; do sleep 0.5; done
listening=1
for signal in $pending; do deliver "$signal"; done
# A signal to this shell ends `wait` while the launcher lives on.
while kill -0 "$ranks" 2>/dev/null; do wait "$ranks"; done
wait "$ranks"
code=$?
# What launchers make of the ranks' exit codes differs; the run says it itself.
stated=$(status_field exit_code)
if [ -n "$stated" ] && [ "$(status_version)" = "$status_before" ]; then
  if [ "$code$stated" = 00 ]; then say "nothing to do: $out is done"; exit 0; fi
  stated=''
fi
if [ -z "$stated" ] && [ "$code" = 0 ] && [[ " ${arguments[*]} " != *" --dry-run "* ]]; then
  # mpirun --enable-recovery forgives even ranks that never came to run.
  fail 30 "the ranks ended without a word on how" "what is above; gradcode doctor"
fi
code=${stated:-$code}

# --- again? --------------------------------------------------------------------------------------
preempted=$(record 'PreemptTime=\([0-9][0-9T:-]*\)')
# At a preemption Slurm's TERM makes an end of mpirun's daemons on other nodes, whatever the run was about to do.
if [ -z "$stated" ] && [ -n "$preempted" ]; then code=85; fi
case $code in
  0) say "done: $out"; exit 0 ;;
  85) iterations=$(status_field iterations_done) saved=$(status_field checkpoint) ;;
  86) say "stopped early without a checkpoint: log and model in $out are complete up to there"; exit 86 ;;
  *) say "ended with code $code (gradcode --help lists them)"; exit "$code" ;;
esac
if [ -n "$stated" ]; then
  say "stopped after $iterations iterations; the newest checkpoint in $out is of ${saved:=0}"
else
  say "ended by a preemption; to go on from the last checkpoint in $out, if there is one"
fi
# A preempted job gets TERM, too, but is to go on later; should this script not get to the end, Slurm requeues it.
[ -z "$preempted" ] || cancelled=''
state=$(record 'JobState=\([A-Z_]*\)')
if [ -n "$cancelled" ] || [ "${state:-RUNNING}" != RUNNING ]; then
  say "not requeued, since the job was told to end; to go on: OUT=$out sbatch ... with the same arguments"
  exit 85
fi
most=${MAX_REQUEUES:-200}
if [ "$restarts" -ge "$most" ]; then
  say "not requeued, since MAX_REQUEUES=$most; to go on: OUT=$out sbatch ... with the same arguments"
  exit 85
fi
if [ -n "$stated" ]; then
  # The checkpoint at the last requeue, and how many starts in a row have left no later one.
  before=0 idle=0
  [ ! -r "$out/.requeued-at" ] || read -r before idle <"$out/.requeued-at"
  if [ "$saved" -gt "$before" ]; then idle=0; else idle=$((idle + 1)); fi
  if [ "$idle" -ge 2 ]; then
    fail 85 "not requeued: two starts in a row left no checkpoint beyond iteration $before" \
      "a longer --time, a shorter time in --signal, or room on the disk"
  fi
  echo "$saved $idle" >"$out/.requeued-at"
fi
say "requeued"
# Slurm ends this script and scontrol as soon as it has heard.
trap '' TERM
scontrol requeue "$job" || fail 85 "this cluster does not requeue job $job" "OUT=$out sbatch ... with the same arguments goes on"
exit 85
