#!/usr/bin/env bash
# A throw-away Slurm on this machine: one controller and a few pretended nodes, on loopback, without
# systemd. For trying job files at home, and for jobs/slurm-test.sh.
#
#   sudo jobs/slurm-sim.sh start          install Slurm if there is apt and it is missing; start what is
#                                         not running; wait until all nodes are idle
#   jobs/slurm-sim.sh run COMMAND...      run a command that talks to it: sbatch, squeue, scancel, ...
#   jobs/slurm-sim.sh env                 print what such commands need:  eval "$(jobs/slurm-sim.sh env)"
#   jobs/slurm-sim.sh status              nodes, jobs and daemons
#   sudo jobs/slurm-sim.sh fail NODE      as if the power of that node failed; start brings it back
#   sudo jobs/slurm-sim.sh stop           cancel all jobs, stop the daemons
#   sudo jobs/slurm-sim.sh clean          stop, and remove every file it made
#   sudo jobs/slurm-sim.sh install        the packages alone; exit 3 where they cannot be had
#
# For example:
#   sudo jobs/slurm-sim.sh start
#   jobs/slurm-sim.sh run sbatch --ntasks=5 --cpus-per-task=1 jobs/train-cpu.sbatch EXPERIMENT.toml
#   sudo jobs/slurm-sim.sh clean
#
# Environment (the same for every command of one simulated cluster):
#   SLURM_SIM_DIR      where it keeps everything            ${TMPDIR:-/tmp}/slurm-sim
#   SLURM_SIM_NODES    nodes, called n0, n1, ...            2
#   SLURM_SIM_CPUS     cores that each node claims to have  8, however many there are
#   SLURM_SIM_MEMORY   megabytes that each node claims      4000
#   SLURM_SIM_GPUS     GPUs that each node claims: jobs see their numbers, there are none    0
#   SLURM_SIM_PORT     first TCP port of a few dozen        16817
#   SLURM_SIM_REQUEUE  seconds for which a requeued job is held, 5 or more (Slurm's own default: 120)   10
#   SLURM_SIM_ISOLATE  1: every node has a host name, an /etc/hosts and a /dev/shm of its own, so that
#                      MPI sees different machines; 0: it does not.  Default: 1 where unshare(1) may
set -euo pipefail

dir=${SLURM_SIM_DIR:-${TMPDIR:-/tmp}/slurm-sim}
nodes=${SLURM_SIM_NODES:-2}
cpus=${SLURM_SIM_CPUS:-8}
memory=${SLURM_SIM_MEMORY:-4000}
gpus=${SLURM_SIM_GPUS:-0}
port=${SLURM_SIM_PORT:-16817}
requeue=${SLURM_SIM_REQUEUE:-10}
conf=$dir/etc/slurm.conf
CANNOT_INSTALL=3

say()  { printf 'slurm-sim: %s\n' "$*" >&2; }
fail() { # fail CODE MESSAGE [HINT]...
  local code=$1; say "error: $2"; shift 2
  for hint in "$@"; do say "hint: $hint"; done
  exit "$code"
}

need_root() { [ "$(id -u)" = 0 ] || fail 2 "'$1' needs root" "sudo jobs/slurm-sim.sh $1"; }

number() { # number NAME VALUE LEAST
  if ! [[ $2 =~ ^[0-9]+$ ]] || [ "$2" -lt "$3" ]; then fail 2 "$1=$2: expected a whole number, $3 or more"; fi
}

isolated() { [ "$isolate" = 1 ]; }

# --- packages ---------------------------------------------------------------------------------
missing_packages() {
  command -v munged    >/dev/null || echo munge
  command -v slurmctld >/dev/null || echo slurmctld
  command -v slurmd    >/dev/null || echo slurmd
  command -v sbatch    >/dev/null || echo slurm-client
  # Elsewhere than on Debian the plugins live in places of their own; srun --mpi=list is the judge.
  [ ! -e /etc/debian_version ] || compgen -G '/usr/lib/*/slurm-wlm/mpi_pmix.so' >/dev/null || echo slurm-wlm-basic-plugins
  # srun --mpi=pmix opens libpmix.so, which on Debian only the -dev package has.
  [ ! -e /etc/debian_version ] || compgen -G '/usr/lib/*/pmix2/lib/libpmix.so' >/dev/null || echo libpmix-dev
  command -v mpirun    >/dev/null || echo openmpi-bin
}

install_packages() {
  local missing; mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail $CANNOT_INSTALL "not installed, and there is no apt: ${missing[*]}" \
    "install slurmctld, slurmd, munge, the Slurm clients and PMIx with this system's own tools"
  [ "$(id -u)" = 0 ] || fail $CANNOT_INSTALL "not installed, and this is not root: ${missing[*]}" \
    "sudo apt-get install --no-install-recommends ${missing[*]}"
  say "installing ${missing[*]}"
  # The packages would start daemons of their own; this script starts its own copies.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; fi
  local log; log=$(mktemp)
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
  local done=1
  "${get[@]}" "${missing[@]}" >"$log" 2>&1 ||
    { apt-get update -qq >>"$log" 2>&1 && "${get[@]}" "${missing[@]}" >>"$log" 2>&1; } || done=
  [ -z "$made" ] || rm -f $policy
  if [ -z "$done" ]; then tail -n 20 "$log" >&2; rm -f "$log"; fail $CANNOT_INSTALL "apt could not install ${missing[*]}"; fi
  rm -f "$log"
}

# --- configuration ----------------------------------------------------------------------------
node_names() { for ((i = 0; i < nodes; i++)); do echo "n$i"; done; }

write_configuration() { # sets `changed` when a running controller would not know it yet
  local head node i=0 text
  mkdir -p "$dir"/{etc,log,pid,controller,munge,gpu}
  chmod 755 "$dir" "$dir/munge"; chmod 700 "$dir/controller"
  if isolated; then head="head"; else head=$(hostname -s); fi
  text="# Written by jobs/slurm-sim.sh.
ClusterName=sim
SlurmctldHost=$head(127.0.0.1)
SlurmctldPort=$port
# Ports for srun: loopback is crowded enough without ephemeral ones.
SrunPortRange=$((port + 100))-$((port + 163))
# Bind to the address of the names, which is loopback, instead of to all addresses.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# The lifetime of a credential is also how long a requeued job is held.
AuthInfo=socket=$dir/munge/munge.socket,cred_expire=$requeue
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$dir/controller
SlurmdSpoolDir=$dir/%n
# The PMIx plugin makes directories of fixed names there: one place per node.
TmpFS=$dir/%n-tmp
SlurmctldPidFile=$dir/pid/slurmctld.pid
SlurmdPidFile=$dir/pid/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
# Neither cgroups nor binding: works in containers, and nodes may claim more cores than there are.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
# Jobs in main take the place of jobs in preemptible, which get the signal that they asked for (--signal), or
# else TERM, and 20 s to end, and are requeued.
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=60
SlurmdTimeout=120
KillWait=10
# Ended jobs stay visible to scontrol for a day.
MinJobAge=86400
JobRequeue=1
MailProg=/bin/true"
  [ "$gpus" = 0 ] || text+=$'\nGresTypes=gpu'
  : >"$dir/etc/gres.conf"
  # Slurm wants character devices; copies of /dev/null serve.
  for ((i = 0; i < gpus; i++)); do
    [ -e "$dir/gpu/device$i" ] || mknod "$dir/gpu/device$i" c 1 3 ||
      fail 30 "cannot make a device file in $dir/gpu" "SLURM_SIM_GPUS=0 does without"
    echo "Name=gpu File=$dir/gpu/device$i" >>"$dir/etc/gres.conf"
  done
  i=0
  for node in $(node_names); do
    mkdir -p "$dir/$node" "$dir/$node-tmp"
    text+="
NodeName=$node NodeHostname=$(if isolated; then echo "$node"; else echo "$head"; fi) NodeAddr=127.0.0.1 Port=$((port + 10 + i)) CPUs=$cpus Sockets=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$memory$([ "$gpus" = 0 ] || echo " Gres=gpu:$gpus") State=UNKNOWN"
    i=$((i + 1))
  done
  text+="
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=$((memory / cpus)) State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=preemptible Nodes=ALL MaxTime=INFINITE DefMemPerCPU=$((memory / cpus)) State=UP PriorityTier=1 GraceTime=20"
  changed=
  if [ "$text" != "$(cat "$conf" 2>/dev/null)" ]; then printf '%s\n' "$text" >"$conf"; changed=1; fi
  # A slurmd starts a cgroup plugin even if nothing uses it; v1 does nothing until it is asked.
  echo CgroupPlugin=cgroup/v1 >"$dir/etc/cgroup.conf"
  : >"$dir/etc/plugstack.conf"
  echo "$isolate" >"$dir/etc/isolate"
  { cat /etc/hosts; echo "127.0.0.1 head"; for node in $(node_names); do echo "127.0.0.1 $node"; done; } >"$dir/etc/hosts"
}

print_env() {
  echo "export SLURM_CONF=$conf"
  # Simulated nodes have no network but loopback.
  echo "export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo"
  # Nodes that share a host name and /dev/shm would mistake each other's shared memory for their own.
  isolated || [ "$nodes" = 1 ] || echo "export OMPI_MCA_btl=^vader"
  # Whoever started it as root runs jobs as root.
  [ "$(id -u)" != 0 ] || echo "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
}

# --- daemons ----------------------------------------------------------------------------------
pid_of() { # pid_of NAME: prints the process id if that daemon runs (munged, slurmctld, slurmd-NODE)
  local pid; pid=$(cat "$dir/pid/$1.pid" 2>/dev/null) || return 1
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${1%%-*}" ] && echo "$pid"
}

as_host() { # as_host NAME COMMAND...: on a machine of that name, as far as one can pretend
  if isolated; then
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --uts sh -ec '
      name=$1 dir=$2; shift 2
      hostname "$name"
      mount --bind "$dir/etc/hosts" /etc/hosts
      mount -t tmpfs tmpfs /dev/shm
      exec "$@"' sh "$1" "$dir" "${@:2}"
  else
    "${@:2}"
  fi
}

log_tail() { tail -n 5 "$dir/log/$1.log" 2>/dev/null >&2 || true; }

start() {
  install_packages
  write_configuration
  if [ -n "$changed" ] && pid_of slurmctld >/dev/null; then say "other settings than before: starting anew"; stop; fi
  if ! pid_of munged >/dev/null; then
    [ -s "$dir/munge/munge.key" ] || (umask 077; head -c 128 /dev/urandom >"$dir/munge/munge.key")
    rm -f "$dir/munge"/munge.socket*
    munged --key-file="$dir/munge/munge.key" --socket="$dir/munge/munge.socket" --pid-file="$dir/pid/munged.pid" \
      --log-file="$dir/log/munged.log" --seed-file="$dir/munge/munged.seed" --force 2>>"$dir/log/munged.log" ||
      { log_tail munged; fail 30 "munged does not start" "its log: $dir/log/munged.log"; }
  fi
  pid_of slurmctld >/dev/null || as_host head slurmctld -f "$conf" ||
    { log_tail slurmctld; fail 30 "slurmctld does not start" "its log: $dir/log/slurmctld.log"; }
  local node
  for node in $(node_names); do
    pid_of "slurmd-$node" >/dev/null || as_host "$node" slurmd -f "$conf" -N "$node" ||
      { log_tail "slurmd-$node"; fail 30 "slurmd of $node does not start" "its log: $dir/log/slurmd-$node.log"; }
  done
  local tries up=0
  for ((tries = 0; tries < 150; tries++)); do
    up=$(sinfo -h -N -p main -o %t 2>/dev/null | grep -Ec '^(idle|mix|alloc)$' || true)
    [ "$up" != "$nodes" ] || break
    # An unclean stop leaves nodes marked as down.
    [ $((tries % 10)) != 9 ] || scontrol update nodename=ALL state=resume 2>/dev/null || true
    sleep 0.2
  done
  [ "$up" = "$nodes" ] || { sinfo -N -l -p main >&2 || true; fail 30 "only $up of $nodes nodes came up" "logs: $dir/log"; }
  say "ready: $nodes nodes with $cpus cores$([ "$gpus" = 0 ] || echo " and $gpus pretended GPUs"), $(isolated && echo "each a host of its own" || echo "all of one host name"), in $dir"
}

runs_on() { # runs_on NODE PID UTS: whether that process is one of the node's (UTS: the name space of its slurmd)
  if isolated; then
    [ "$(readlink "/proc/$2/ns/uts" 2>/dev/null)" = "$3" ]
  else
    grep -qzxF "SLURM_CONF=$conf" "/proc/$2/environ" 2>/dev/null && grep -qzxF "SLURMD_NODENAME=$1" "/proc/$2/environ" 2>/dev/null
  fi
}

power_off() { # power_off NODE: nothing of it is left, and nobody is left to report that
  local node=$1 pid uts process
  pid=$(pid_of "slurmd-$node") || fail 2 "no node $node runs" "jobs/slurm-sim.sh status lists them"
  uts=$(readlink "/proc/$pid/ns/uts")
  kill -9 "$pid" 2>/dev/null || true
  for process in /proc/[0-9]*; do
    process=${process#/proc/}
    [ "$process" = $$ ] || ! runs_on "$node" "$process" "$uts" || kill -9 "$process" 2>/dev/null || true
  done
  rm -f "$dir/pid/slurmd-$node.pid"
  # A node's own files are in memory: the sockets of a step that lie there would stop the same step of a requeued job.
  rm -rf "${dir:?}/$node" "${dir:?}/$node-tmp"
  # The controller would find out by itself, after SlurmdTimeout.
  scontrol update nodename="$node" state=down reason="power failure"
}

stop_daemon() {
  local pid tries; pid=$(pid_of "$1") || { rm -f "$dir/pid/$1.pid"; return 0; }
  kill "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 100; tries++)); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
  [ ! -d "/proc/$pid" ] || kill -9 "$pid" 2>/dev/null || true
  rm -f "$dir/pid/$1.pid"
}

stop() {
  [ -e "$conf" ] || return 0
  local tries file
  if pid_of slurmctld >/dev/null; then
    timeout 10 squeue -h -o %A 2>/dev/null | sort -u | xargs -r timeout 20 scancel --full 2>/dev/null || true
    for ((tries = 0; tries < 60; tries++)); do
      [ -n "$(timeout 10 squeue -h 2>/dev/null)" ] || break
      sleep 0.25
    done
  fi
  for file in "$dir"/pid/slurmd-*.pid; do [ ! -e "$file" ] || stop_daemon "$(basename "$file" .pid)"; done
  stop_daemon slurmctld
  stop_daemon munged
}

status() {
  local file
  [ -e "$conf" ] || { say "there is none in $dir"; return 1; }
  for file in "$dir"/pid/*.pid; do
    [ ! -e "$file" ] || printf '%-12s %s\n' "$(basename "$file" .pid)" "$(pid_of "$(basename "$file" .pid)" || echo "not running")"
  done
  pid_of slurmctld >/dev/null || return 1
  sinfo -N -l -p main
  squeue
}

number SLURM_SIM_NODES "$nodes" 1
number SLURM_SIM_CPUS "$cpus" 1
number SLURM_SIM_MEMORY "$memory" "$cpus"
number SLURM_SIM_GPUS "$gpus" 0
number SLURM_SIM_PORT "$port" 1024
number SLURM_SIM_REQUEUE "$requeue" 5
export SLURM_CONF=$conf

case ${SLURM_SIM_ISOLATE:-} in
  0|1) isolate=$SLURM_SIM_ISOLATE ;;
  # What it was started with, else what this machine allows.
  "") if [ -e "$dir/etc/isolate" ]; then isolate=$(cat "$dir/etc/isolate")
      elif unshare --mount --uts sh -c 'hostname n0 && mount -t tmpfs tmpfs /dev/shm' 2>/dev/null; then isolate=1
      else isolate=0; fi ;;
  *) fail 2 "SLURM_SIM_ISOLATE=$SLURM_SIM_ISOLATE: expected 0 or 1" ;;
esac

case ${1:-} in
  start) need_root start; start ;;
  fail)
    need_root fail
    [ $# = 2 ] || fail 2 "fail needs the name of a node" "jobs/slurm-sim.sh fail n1"
    power_off "$2"
    ;;
  stop) need_root stop; stop ;;
  clean)
    need_root clean; stop
    # Only what this script made, and only if it made it.
    [ ! -e "$conf" ] || rm -rf "${dir:?}"
    ;;
  install) install_packages ;;
  status) status ;;
  env) [ -e "$conf" ] || fail 2 "there is none in $dir" "sudo jobs/slurm-sim.sh start"; print_env ;;
  run)
    shift
    [ $# -gt 0 ] || fail 2 "run needs a command" "jobs/slurm-sim.sh run squeue"
    [ -e "$conf" ] || fail 2 "there is none in $dir" "sudo jobs/slurm-sim.sh start"
    eval "$(print_env)"
    exec "$@"
    ;;
  -h|--help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" ;;
  *) fail 2 "unknown command '${1:-}'" "one of start, run, env, status, fail, stop, clean, install; see --help" ;;
esac
