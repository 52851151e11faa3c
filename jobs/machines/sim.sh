# shellcheck shell=bash disable=SC2034 # sourced by jobs/slurm-train.sh, which reads these variables
# The cluster of jobs/slurm-sim.sh (ClusterName=sim): nodes that claim more cores than there are.
srun_options=(--mpi=pmix --overcommit)
mpirun_options=(--oversubscribe --bind-to none)
# One computing thread per rank, and ranks that wait leave the core to the others.
export OMP_NUM_THREADS=1
export OMPI_MCA_mpi_yield_when_idle=1
