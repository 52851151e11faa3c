//! The round protocol: one master loop, a worker loop, and a transport over MPI or in process
