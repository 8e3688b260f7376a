//! Tables that are cut into column blocks, over real processes: on one host, and on workers that name two.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::net::TcpListener;

use muster_tests::folder::Folder;
use muster_tests::process::{Running, signal, wait_for};
use muster_tests::small::{JOB, prepared};
use serde_json::Value;

/// The program under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");

/// A folder with the small dataset and a job whose item table is in two column blocks.
fn cut() -> Folder {
    let folder = prepared(MUSTER);
    let more = "[model.head.sampled_softmax]\nnegatives = 3\n\n[tables]\ncolumn_blocks = { item = 2 }\n\n\
                [table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.1\n\n[training]";
    folder.write("job.toml", JOB.replace("[training]", more));
    folder
}

fn train(folder: &Folder, out: &str, workers: &str, placement: &str) -> Value {
    let placed = format!("tables.placement.item={placement}");
    let args = ["train", "job.toml", "--dataset", "prepared", "--out", out, "--workers", workers];
    folder.result(&[&args[..], &["--threads", "1", "--set", &placed]].concat())
}

#[test]
fn processes_train_a_cut_table_to_one_digest_and_the_model_is_judged_verified_and_used_as_any() {
    let folder = cut();
    let alone = train(&folder, "alone", "1", "row_wise");
    let spread = train(&folder, "spread", "3", "column_wise");
    assert_eq!(spread["model_digest"], alone["model_digest"]);
    assert_eq!(spread["metrics"], alone["metrics"]);
    assert_eq!(folder.result(&["evaluate", "spread"])["metrics"], spread["metrics"]);
    let recommended = folder.result(&["recommend", "spread", "--user", "u3", "-k", "2"]);
    assert_eq!(recommended, folder.result(&["recommend", "alone", "--user", "u3", "-k", "2"]));
    let verified = folder.result(&["verify", "spread"]);
    assert_eq!((&verified["ok"], &verified["problems"]), (&Value::Bool(true), &Value::Array(Vec::new())));
}

#[test]
fn workers_that_name_two_hosts_train_a_grid_with_a_column_block_on_each() {
    let folder = cut();
    let alone = train(&folder, "alone", "1", "row_wise");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let coordinator = Running::start(&mut folder.command(&["coordinator", "--listen", &listen]));
    let worker = |host: &str| {
        let args = ["worker", "--coordinator", &url, "--threads", "1", "--device", "cpu", "--host", host];
        Running::start(&mut folder.command(&args))
    };
    let workers = ["left", "right", "left", "right"].map(worker);
    let ask = |args: &[&str]| {
        let outcome = folder.muster(&[args, &["--coordinator", &url]].concat());
        (outcome.code == Some(0)).then(|| outcome.json())
    };
    wait_for("the workers to register", || {
        let known = ask(&["workers", "list"])?;
        let connected = |worker: &&Value| worker["connected"] == true;
        (known["workers"].as_array()?.iter().filter(connected).count() == 4).then_some(())
    });
    let submit = ["jobs", "submit", "job.toml", "--dataset", "prepared", "--out", "run", "--workers", "4"];
    let long = ["--set", "tables.placement.item=grid", "--set", "training.epochs=1000000"];
    let job = ask(&[&submit[..], &long[..]].concat()).unwrap()["job"].to_string();
    let told = wait_for("the job to train", || {
        let shown = ask(&["jobs", "show", &job])?;
        (shown["phase"] == "training").then(|| shown["reason"].as_str().unwrap_or_default().to_owned())
    });
    assert!(told.starts_with("item grid in 2 column blocks; tables take "), "{told}");
    ask(&["jobs", "cancel", &job]).unwrap();
    let short = ["--set", "tables.placement.item=grid"];
    let submit = submit.map(|word| if word == "run" { "again" } else { word });
    wait_for("the job to end", || (ask(&["jobs", "show", &job])?["phase"] == "cancelled").then_some(()));
    let job = ask(&[&submit[..], &short[..]].concat()).unwrap()["job"].to_string();
    wait_for("the job to end", || (ask(&["jobs", "show", &job])?["phase"] == "finished").then_some(()));
    assert_eq!(folder.result(&["verify", "again", "--dataset", "prepared"])["ok"], true);
    let evaluated = folder.result(&["evaluate", "again", "--dataset", "prepared"]);
    assert_eq!(evaluated["metrics"], alone["metrics"]);
    for process in workers.into_iter().chain([coordinator]) {
        signal("TERM", process.id());
        assert_eq!(process.end().0, Some(0));
    }
}
