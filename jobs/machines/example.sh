# shellcheck shell=bash disable=SC2034 # sourced by jobs/slurm-train.sh, which reads these variables
# A machine profile to copy: jobs/machines/NAME.sh is sourced in every job on the cluster NAME (its
# ClusterName: `scontrol show config`), or where MACHINE=NAME says so. All lines are optional.
# Set before: $tasks (ranks), $threads (cores per rank), $home (this repository).

# Modules: the ones gradcode was built with. Slurm's jobs inherit the submitting shell's environment;
# this makes them independent of it.
# module purge
# module load gcc/13 openmpi/4.1 hdf5/1.14 openblas/0.3

# How ranks are started: srun or mpirun. Left out: srun where Slurm has the pmix plugin, else mpirun.
# launcher=srun
# Options for them. These are the defaults, right where tasks get whole cores of their own:
# srun_options=(--mpi=pmix --cpu-bind=cores)
# mpirun_options=(--map-by "slot:PE=$threads" --bind-to core)       # of Open MPI

# The network, where Open MPI should not choose it:
# export OMPI_MCA_btl_tcp_if_include=ib0 OMPI_MCA_oob_tcp_if_include=ib0

# Threads per rank, at most; `compute.threads` of the configuration decides. Default: --cpus-per-task.
# export OMP_NUM_THREADS=$threads
