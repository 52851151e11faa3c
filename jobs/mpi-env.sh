# shellcheck shell=bash disable=SC2034 # whoever sources it reads mpirun_options
# Sourced, not run: launcher options and variables for more ranks than cores on one machine.
# Sets mpirun_options. Open MPI refuses to oversubscribe and to run as root unless it is told to,
# binds ranks to single cores, spins while it waits, and ends a job of which one rank dies; other
# MPIs need none of this or have no such option.
mpirun_options=()
case "$(mpirun --version 2>/dev/null)" in
  *"Open MPI"*)
    mpirun_options+=(--oversubscribe --bind-to none)
    # A worker rank that dies must not take the others along (docs/faults.md).
    mpirun_options+=(--enable-recovery)
    export OMPI_MCA_mpi_yield_when_idle=1
    if [ "$(id -u)" = 0 ]; then
      export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    ;;
esac
# One computing thread per rank unless the caller knows better: two OpenMP pools on one core are
# tens of times slower than one.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
