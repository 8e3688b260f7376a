//! Everything that touches a device: the ops of the model, forward and backward.
