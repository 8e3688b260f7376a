//! Decides, without I/O, clock or randomness.
