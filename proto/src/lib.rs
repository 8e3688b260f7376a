//! The contract between the processes of a cluster: messages, typed ids, typed specs.
