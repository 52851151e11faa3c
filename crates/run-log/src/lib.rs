//! The HDF5 log of a run: schema, crash-proof writer, reader and summaries
