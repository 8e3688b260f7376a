//! Each cleaning rule drops what it should and counts it.

use muster_data::Split;

use crate::fixture::{CSV, Folder, sequences};

fn cleaned(rows: &str, rules: &str) -> (Vec<String>, Vec<(String, u64)>) {
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let manifest = folder.prepare(&format!("{CSV}{rules}")).unwrap();
    let total: u64 = manifest.cleaning.dropped.values().sum();
    assert_eq!(
        manifest.cleaning.rows_in,
        manifest.cleaning.rows_out + total,
        "rows are lost or counted twice"
    );
    (sequences(&folder.open()), manifest.cleaning.dropped.into_iter().collect())
}

fn drops(rules: &[(&str, u64)]) -> Vec<(String, u64)> {
    rules.iter().map(|(rule, rows)| ((*rule).to_owned(), *rows)).collect()
}

#[test]
fn missing_keys_and_impossible_times_are_dropped() {
    let (kept, dropped) = cleaned(
        "1,a,10\n,a,10\n1,NA,10\n1,b,\n1,c,-5\n1,d,99999999999\n",
        "[cleaning]\nmin_time = \"1970-01-01\"\n",
    );
    assert_eq!(kept, ["1: a"]);
    let expected = [("impossible_time", 2), ("missing_item", 1), ("missing_time", 1), ("missing_user", 1)];
    assert_eq!(dropped, drops(&expected));
}

#[test]
fn duplicates_are_what_the_rule_says() {
    let rows = "1,a,1\n1,a,1\n1,a,2\n1,b,3\n1,a,4\n2,a,1\n";
    for (rule, kept, dropped) in [
        ("keep", "1: a a a b a", 0),
        ("exact", "1: a a b a", 1),
        ("consecutive", "1: a b a", 2),
        ("repeats", "1: a b", 3),
    ] {
        let (sequences, drops) = cleaned(rows, &format!("[cleaning]\nduplicates = \"{rule}\"\n"));
        assert_eq!(sequences, [kept, "2: a"], "{rule}");
        assert_eq!(drops.iter().map(|(_, rows)| rows).sum::<u64>(), dropped, "{rule}");
    }
}

#[test]
fn the_k_core_goes_on_until_nothing_changes() {
    // z falls for lack of users, then user 3 for lack of items, then c, which only 3 and 1 had, then nothing.
    let rows = "1,a,1\n1,b,2\n1,c,3\n2,a,1\n2,b,2\n3,c,1\n3,z,2\n";
    let (kept, dropped) = cleaned(rows, "[cleaning]\nmin_user_events = 2\nmin_item_events = 2\n");
    assert_eq!(kept, ["1: a b", "2: a b"]);
    assert_eq!(dropped.iter().map(|(_, rows)| rows).sum::<u64>(), 3);
}

#[test]
fn the_latest_events_stay_and_short_sequences_go() {
    let rows = "1,a,1\n1,b,2\n1,c,3\n1,d,4\n2,a,1\n2,b,2\n3,a,1\n";
    let rules = "[cleaning]\nmax_user_events = 3\n[sequences]\nmin_events = 2\n";
    let (kept, dropped) = cleaned(rows, rules);
    assert_eq!(kept, ["1: b c d", "2: a b"]);
    assert_eq!(dropped, drops(&[("over_max_user_events", 1), ("short_sequence", 1)]));
}

#[test]
fn invalid_rows_are_dropped_where_the_spec_says_so() {
    let (kept, dropped) = cleaned("1,a,1\n1,b,soon\n1,b\n1,c,2\n", "[cleaning]\non_invalid = \"drop\"\n");
    assert_eq!(kept, ["1: a c"]);
    assert_eq!(dropped, drops(&[("invalid", 2)]));
}

#[test]
fn equal_times_keep_the_order_of_the_file() {
    let (kept, _) = cleaned("1,c,5\n1,a,5\n1,b,5\n1,z,1\n", "");
    assert_eq!(kept, ["1: z c a b"]);
}

#[test]
fn ids_go_by_falling_count_then_by_key() {
    let folder = Folder::with("log.csv", "user,item,time\n1,b,1\n1,c,2\n1,a,3\n2,c,1\n");
    folder.prepare(CSV).unwrap();
    let items = folder.open().load_items().unwrap();
    assert_eq!((0..3).map(|id| items.key(id)).collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!((items.id("b"), items.id("x")), (Some(2), None));
}

#[test]
fn sessions_can_be_the_sequences() {
    let folder = Folder::with("log.csv", "user,item,time,visit\n1,a,1,x\n1,b,2,y\n1,c,3,x\n");
    folder.prepare(&format!("{CSV}session = \"visit\"\n[sequences]\ngroup_by = \"session\"\n")).unwrap();
    assert_eq!(sequences(&folder.open()), ["x: a c", "y: b"]);
}

#[test]
fn whole_series_are_held_out_and_keep_their_rows() {
    let mut csv = "id,step,x0,x1,y\n".to_owned();
    for id in 0..200 {
        for step in (0..3).rev() {
            csv.push_str(&format!("s{id},{step},{id},{step},{}\n", id * 10 + step));
        }
    }
    let folder = Folder::with("series.csv", csv);
    let spec = "name = \"s\"\nkind = \"series\"\ninput = \"series.csv\"\nformat = \"csv\"\npartitions = 8\n\
        [columns]\nuser = \"id\"\ntime = \"step\"\nnumeric = [\"x*\"]\ntarget = \"y\"\n\
        [split]\nkind = \"holdout\"\nvalid = 0.2\ntest = 0.2\n";
    let manifest = folder.prepare(spec).unwrap();
    assert_eq!((manifest.users, manifest.events, manifest.numeric().count()), (200, 600, 2));
    let splits = manifest.splits;
    assert_eq!(splits.train + splits.valid + splits.test, 200);
    assert!((25..=55).contains(&splits.valid) && (25..=55).contains(&splits.test), "{splits:?}");
    let dataset = folder.open();
    assert!(dataset.load_items().is_err());
    let (partition, user) = dataset.find_user("s17").unwrap().unwrap();
    let range = partition.range(user);
    let series = partition.series.as_ref().unwrap();
    assert_eq!(series.features[range.start * 2..range.end * 2], [17.0, 0.0, 17.0, 1.0, 17.0, 2.0]);
    assert_eq!(series.targets[range.clone()], [170.0, 171.0, 172.0]);
    let is_trained = partition.role(user) == Split::Train;
    assert_eq!(partition.train(user).len(), if is_trained { 3 } else { 0 });
    assert_eq!(partition.held_out(user, Split::Test), None);
}
