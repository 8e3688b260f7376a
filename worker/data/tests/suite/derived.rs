//! Derived columns, splits by time and the unknown item: right by hand-made logs, and blind to the future.

use muster_data::{Dataset, Split};
use proptest::prelude::*;

use crate::fixture::{CSV, Folder, sequences, targets};

/// The keys (or numbers) of a column for a user's events.
fn column(dataset: &Dataset, user: &str, name: &str) -> Vec<String> {
    let (partition, local) = dataset.find_user(user).unwrap().unwrap();
    let manifest = dataset.manifest();
    let range = partition.range(local);
    if let Some(place) = manifest.categorical().position(|column| column.name == name) {
        let keys = dataset.load_vocabulary(name).unwrap();
        return partition.categorical[place][range].iter().map(|id| keys.key(*id).to_owned()).collect();
    }
    let place = manifest.numeric().position(|column| column.name == name).unwrap();
    // Counts are stored as ln(1 + count).
    let shown = |value: &f32| if name == "session" { *value } else { value.exp_m1().round() };
    partition.numeric[place][range].iter().map(|value| shown(value).to_string()).collect()
}

const EVENTS: &str = "user,item,time,kind,cost\n\
    1,a,0,view,10\n1,b,3,view,20\n1,a,3,buy,\n1,c,4000,view,30\n1,a,90000,buy,40\n\
    2,a,2,click,50\n2,a,3,view,60\n2,b,604800,buy,1000\n";

fn spec(derive: &str, rest: &str) -> String {
    let columns = "event = \"kind\"\nprice = \"cost\"\n";
    format!("{CSV}{columns}[features]\nderive = [{derive}]\n{rest}")
}

#[test]
fn every_derived_column_is_right_on_a_log_made_by_hand() {
    let folder = Folder::with("log.csv", EVENTS);
    let all = "\"time_gap\", \"hour\", \"weekday\", \"user_clicks\", \"user_buys\", \"item_clicks\", \"item_buys\", \
        \"session\"";
    let manifest = folder.prepare(&spec(all, "")).unwrap();
    assert_eq!(manifest.rows_of("hour"), Some(25));
    let dataset = folder.open();
    for (name, of_1, of_2) in [
        // Gaps of 3, 0, 3997 and 86000 s; of 1 and 604797 s.
        ("time_gap", vec!["", "2", "0", "11", "16"], vec!["", "1", "19"]),
        ("hour", vec!["0", "0", "0", "1", "1"], vec!["0", "0", "0"]),
        (
            "weekday",
            vec!["thursday", "thursday", "thursday", "thursday", "friday"],
            vec!["thursday", "thursday", "thursday"],
        ),
        // Events of one time do not see each other.
        ("user_clicks", vec!["0", "1", "1", "2", "3"], vec!["0", "1", "2"]),
        ("user_buys", vec!["0", "0", "0", "1", "1"], vec!["0", "0", "0"]),
        ("item_clicks", vec!["0", "0", "2", "0", "3"], vec!["1", "2", "1"]),
        ("item_buys", vec!["0", "0", "0", "0", "1"], vec!["0", "0", "0"]),
        ("session", vec!["1", "1", "1", "2", "3"], vec!["1", "1", "2"]),
    ] {
        assert_eq!(column(&dataset, "1", name), of_1, "{name}");
        assert_eq!(column(&dataset, "2", name), of_2, "{name}");
    }
}

#[test]
fn price_buckets_are_cut_by_the_prices_of_training_events() {
    let rows: String = (0..40).map(|event| format!("1,i{event},{event},view,{}\n", event + 1)).collect();
    let later: String =
        (0..40).map(|event| format!("1,j{event},{},view,{}\n", 100 + event, event * 1000)).collect();
    let folder = Folder::with("log.csv", format!("user,item,time,kind,cost\n{rows}1,x,50,view,\n{later}"));
    let rest = "price_buckets = 4\n[split]\nkind = \"time\"\nvalid_from = \"1970-01-01T00:01:40Z\"\n\
        test_from = \"1970-01-01T00:02:00Z\"\n";
    folder.prepare(&spec("\"price_bucket\"", rest)).unwrap();
    let buckets = column(&folder.open(), "1", "price_bucket");
    let sizes: Vec<usize> =
        ["1", "2", "3", "4"].iter().map(|key| buckets[..40].iter().filter(|of| of == key).count()).collect();
    assert_eq!(sizes, [10, 10, 10, 10]);
    // A price that is missing or 0 has no bucket; all others of the future are dearer than any of training.
    assert_eq!((buckets[40].as_str(), buckets[41].as_str()), ("", ""));
    assert!(buckets[42..].iter().all(|key| key == "4"), "{buckets:?}");
}

#[test]
fn a_split_by_time_trains_on_the_past_and_asks_for_the_first_event_after() {
    let rows = "1,a,10\n1,b,20\n1,c,30\n1,d,40\n2,a,5\n2,e,31\n2,f,35\n3,z,33\n3,a,50\n4,a,1\n";
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let split = "[split]\nkind = \"time\"\nvalid_from = \"1970-01-01T00:00:30Z\"\ntest_from = \"1970-01-01T00:00:34Z\"\n";
    let manifest = folder.prepare(&format!("{CSV}{split}")).unwrap();
    let dataset = folder.open();
    // The first event of user 3 has nothing before it.
    assert_eq!(targets(&dataset, Split::Valid), ["1: c after 2", "2: e after 1"]);
    assert_eq!(targets(&dataset, Split::Test), ["1: d after 3", "2: f after 2", "3: a after 1"]);
    assert_eq!((manifest.splits.train, manifest.splits.valid, manifest.splits.test), (4, 2, 3));
    let items = dataset.load_items().unwrap();
    let keys: Vec<&str> = (0..manifest.items).map(|id| items.key(id)).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e", "f", "z"], "ids go by training events");
    assert_eq!(dataset.popularity().unwrap(), [3, 1, 0, 0, 0, 0, 0]);
    let (partition, user) = dataset.find_user("1").unwrap().unwrap();
    assert_eq!(partition.train(user).len(), 2);
}

#[test]
fn shares_of_a_split_by_time_become_times_in_the_manifest() {
    let rows: String = (0..100).map(|event| format!("{},i{},{event}\n", event % 7, event % 11)).collect();
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let manifest =
        folder.prepare(&format!("{CSV}[split]\nkind = \"time\"\nvalid = 0.1\ntest = 0.2\n")).unwrap();
    assert_eq!(manifest.split.valid_from.as_deref(), Some("1970-01-01T00:01:10Z"));
    assert_eq!(manifest.split.test_from.as_deref(), Some("1970-01-01T00:01:20Z"));
    assert_eq!((manifest.splits.train, manifest.splits.valid, manifest.splits.test), (70, 7, 7));
    let none = folder.refused(&format!(
        "{CSV}[split]\nkind = \"time\"\nvalid_from = \"1970-01-01\"\ntest_from = \"1970-01-02\"\n"
    ));
    assert!(none.contains("no event is before `split.valid_from` (1970-01-01)"), "{none}");
}

#[test]
fn rare_items_are_the_unknown_one_and_never_to_be_predicted() {
    let rows = "1,a,1\n1,b,2\n1,a,3\n1,x,4\n2,a,1\n2,b,2\n2,b,3\n2,a,4\n3,y,1\n3,a,2\n3,y,3\n3,b,4\n";
    let folder = Folder::with("log.csv", format!("user,item,time\n{rows}"));
    let manifest = folder.prepare(&format!("{CSV}[vocabulary]\nmin_train_events = 2\n")).unwrap();
    assert!(manifest.unknown_item);
    assert_eq!(manifest.rows_of("item"), Some(3));
    let dataset = folder.open();
    let items = dataset.load_items().unwrap();
    assert_eq!((items.key(0), items.key(1), items.key(2)), ("", "a", "b"));
    assert_eq!(sequences(&dataset), ["1: a b a ", "2: a b b a", "3:  a  b"]);
    assert_eq!(dataset.popularity().unwrap(), [1, 3, 2]);
    assert_eq!(targets(&dataset, Split::Test), ["2: a after 3", "3: b after 3"]);
    assert_eq!(targets(&dataset, Split::Valid), ["1: a after 2", "2: b after 2"]);
    assert_eq!(manifest.splits.test, 2);
}

#[test]
fn categories_of_the_future_are_unknown_in_a_split_by_time() {
    let folder =
        Folder::with("log.csv", "user,item,time,kind,cost\n1,a,1,view,1\n1,b,2,view,1\n1,c,9,gift,1\n");
    let rest = "[split]\nkind = \"time\"\nvalid_from = \"1970-01-01T00:00:05Z\"\ntest_from = \"1970-01-01T00:00:20Z\"\n";
    folder.prepare(&spec("", rest)).unwrap();
    assert_eq!(column(&folder.open(), "1", "event"), ["view", "view", ""]);
    assert_eq!(folder.open().manifest().rows_of("event"), Some(2));
}

/// A log of (user, item, time, kind, price).
type Rows = Vec<(u8, u8, u16, bool, u8)>;

fn prepared(rows: &Rows, folder: &Folder, threads: usize) -> Dataset {
    let text: String = rows
        .iter()
        .map(|(user, item, time, buys, price)| {
            format!("u{user},i{item},{time},{},{price}\n", if *buys { "buy" } else { "view" })
        })
        .collect();
    folder.write("log.csv", format!("user,item,time,kind,cost\n{text}"));
    let all = "\"time_gap\", \"hour\", \"weekday\", \"price_bucket\", \"user_clicks\", \"user_buys\", \"item_clicks\", \
        \"item_buys\", \"session\"";
    let rest = "price_buckets = 3\nsession_gap = \"100s\"\n[split]\nkind = \"time\"\n\
        valid_from = \"1970-01-01T00:08:20Z\"\ntest_from = \"1970-01-01T00:10:00Z\"\n";
    let spec = muster_proto::config::parse(&spec(all, rest), "dataset.toml", &[]).unwrap();
    let args = muster_data::PrepareArgs {
        spec: &spec,
        base: folder.path(),
        out: &folder.out(),
        threads,
        variables: &|_| None,
    };
    muster_data::prepare(&args).unwrap();
    folder.open()
}

const NAMES: [&str; 9] = [
    "time_gap",
    "hour",
    "weekday",
    "price_bucket",
    "user_clicks",
    "user_buys",
    "item_clicks",
    "item_buys",
    "session",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    /// Whatever happens from some time on, no column of an earlier event changes, nor does any bound or count.
    #[test]
    fn no_column_sees_what_comes_after(
        mut past in prop::collection::vec((0_u8..4, 0_u8..5, 0_u16..500, any::<bool>(), 0_u8..40), 2..40),
        future in prop::collection::vec((0_u8..4, 0_u8..5, 500_u16..900, any::<bool>(), 0_u8..250), 0..40),
    ) {
        past.push((0, 0, 0, false, 1));
        let (alone, both) = (Folder::new(), Folder::new());
        let with_future = [past.clone(), future].concat();
        let (alone, both) = (prepared(&past, &alone, 1), prepared(&with_future, &both, 3));
        for user in ["u0", "u1", "u2", "u3"] {
            if alone.find_user(user).unwrap().is_none() {
                continue;
            }
            for name in NAMES {
                let expected = column(&alone, user, name);
                let found = column(&both, user, name);
                prop_assert_eq!(&found[..expected.len()], &expected[..], "{} {}", user, name);
            }
        }
        let trained = |dataset: &Dataset| {
            let items = dataset.load_items().unwrap();
            let counts = items.train_counts().to_vec();
            let known = counts.iter().filter(|count| **count > 0).count();
            (0..known).map(|id| (items.key(id as u32).to_owned(), counts[id])).collect::<Vec<_>>()
        };
        prop_assert_eq!(trained(&alone), trained(&both));
    }
}
