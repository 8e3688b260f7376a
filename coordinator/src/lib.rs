//! The shell around the core: gRPC, store, metrics.
