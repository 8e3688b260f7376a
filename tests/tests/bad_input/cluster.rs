//! Addresses, tokens and jobs that are not there.

use std::net::TcpListener;

use muster_tests::refusal::{Refusal, assert_refused};

use crate::{folder, prepared};

/// A URL where nobody listens: its port was free a moment ago.
fn dead_url() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

#[test]
fn a_url_that_is_none_is_refused() {
    let outcome = folder().muster(&["jobs", "list", "--coordinator", "localhost"]);
    assert_refused(
        &outcome,
        Refusal { code: 2, file: "", field: "--coordinator", words: &["localhost", "http://"] },
    );
}

#[test]
fn a_coordinator_that_does_not_answer_is_named() {
    let url = dead_url();
    let outcome = folder().muster(&["workers", "list", "--coordinator", &url]);
    assert_refused(
        &outcome,
        Refusal { code: 1, file: "", field: "--coordinator", words: &[&url, "is it running"] },
    );
}

#[test]
fn a_job_for_a_coordinator_that_does_not_answer_leaves_no_run() {
    let (folder, url) = (prepared(), dead_url());
    let args = ["train", "job.toml", "--dataset", "prepared", "--out", "run", "--coordinator", &url];
    assert_refused(
        &folder.muster(&args),
        Refusal { code: 1, file: "", field: "--coordinator", words: &[&url] },
    );
    assert!(!folder.at("run").exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = folder().muster(&["coordinator", "--listen", &address]);
    assert_refused(&outcome, Refusal { code: 1, file: "", field: "--listen", words: &[&address, "in use"] });
}

#[test]
fn a_port_of_a_worker_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = folder().muster(&["worker", "--listen", &address]);
    assert_refused(&outcome, Refusal { code: 1, file: "", field: "--listen", words: &[&address, "in use"] });
}

#[test]
fn a_coordinator_beyond_loopback_without_a_token_is_refused() {
    let outcome = folder().muster(&["coordinator", "--listen", "0.0.0.0:0"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "", words: &["token"] });
}

#[test]
fn a_worker_beyond_loopback_without_a_token_is_refused() {
    let outcome = folder().muster(&["worker", "--listen", "0.0.0.0:0"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--listen", words: &["--token-file"] });
}

#[test]
fn an_address_that_is_none_is_refused() {
    let outcome = folder().muster(&["coordinator", "--listen", "here"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--listen", words: &["here"] });
}

#[test]
fn a_token_file_that_is_not_there_is_named() {
    let args = ["jobs", "list", "--coordinator", "http://127.0.0.1:1", "--token-file", "token"];
    let expected =
        Refusal { code: 2, file: "token", field: "--token-file", words: &["token", "no such file"] };
    assert_refused(&folder().muster(&args), expected);
}

#[test]
fn a_token_that_is_too_short_is_refused() {
    let folder = folder();
    folder.write("token", "hunter2\n");
    let args = ["coordinator", "--listen", "127.0.0.1:0", "--token-file", "token"];
    let expected = Refusal { code: 2, file: "", field: "--token-file", words: &["7 bytes"] };
    assert_refused(&folder.muster(&args), expected);
}

#[test]
fn a_failure_detection_of_no_time_is_refused() {
    let outcome = folder().muster(&["coordinator", "--listen", "127.0.0.1:0", "--failure-detection", "0"]);
    assert_refused(&outcome, Refusal { code: 2, file: "", field: "--failure-detection", words: &[] });
}
