//! Collectives between the workers of one job.
