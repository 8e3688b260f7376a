//! Drives the product from outside.
