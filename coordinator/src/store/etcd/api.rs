//! etcd's messages and clients, as generated from `proto/etcd.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    unused_qualifications,
    reason = "generated code"
)]

tonic::include_proto!("etcdserverpb");
