//! The `muster` command line.
