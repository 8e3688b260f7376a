//! A shop's logs by day, a schedule for them, and the nights of a cluster.

use std::cell::RefCell;

use muster_data::{DriftingArgs, DriftingShop};
use muster_tests::cluster::Cluster;
use muster_tests::folder::Folder;
use muster_tests::process::wait_for;
use serde_json::Value;

use crate::MUSTER;

const DATASET: &str = "name = \"shop\"\ninput = \"logs/*.csv\"\nformat = \"csv\"\npartitions = 4\n[columns]\nuser = \"user\"\n\
    item = \"item\"\ntime = \"timestamp\"\ncategory = \"category\"\n[split]\nkind = \"time\"\n";
const JOB: &str = "name = \"shop\"\n[batch]\nsequences = 16\nmicro_batches = 2\nmax_len = 10\n[model]\nembedding_dim = 8\n\
    hidden_size = 8\n[training]\nepochs = 2\n[evaluation]\nks = [10]\nfilter_seen = false\n";
const SCHEDULE: &str = "name = \"nightly\"\nmodel = \"shop\"\ndataset = \"dataset.toml\"\njob = \"job.toml\"\nworkspace = \"work\"\n\
    cron = \"0 1 1 1 *\"\n";
const WINDOW: &str = "[window]\nlength = \"4d\"\noffset = \"1h\"\n";

/// 2026-03-01, in seconds since 1970.
const START: u64 = 1_772_323_200;

/// A folder with the files of a schedule.
pub(crate) struct Shop {
    pub(crate) folder: Folder,
    shop: RefCell<DriftingShop>,
}

impl Shop {
    /// With so many days of logs; `rules` are further tables of the schedule.
    pub(crate) fn new(days: u32, rules: &str) -> Self {
        let folder = Folder::new(MUSTER);
        std::fs::create_dir(folder.at("logs")).unwrap();
        folder.write("dataset.toml", DATASET);
        folder.write("job.toml", JOB);
        folder.write("nightly.toml", format!("{SCHEDULE}{WINDOW}{rules}"));
        let args = DriftingArgs {
            customers: 300,
            daily: 120,
            items: 40,
            turnover: 2,
            views: 4,
            start: START,
            seed: 3,
        };
        let shop = Self { folder, shop: RefCell::new(DriftingShop::new(args).unwrap()) };
        (1..=days).for_each(|day| shop.day(day));
        shop
    }

    /// Writes the log of a day of March; days come in order.
    pub(crate) fn day(&self, day: u32) {
        let log = self.folder.at(&format!("logs/2026-03-{day:02}.csv"));
        self.shop.borrow_mut().write_day(None, &log).unwrap();
    }
}

/// A coordinator with a store that outlives it, and a worker.
pub(crate) struct Nights<'a> {
    folder: &'a Folder,
    cluster: Cluster<'a>,
}

impl<'a> Nights<'a> {
    pub(crate) fn start(folder: &'a Folder, flags: &[&str]) -> Self {
        let own = ["--store", "state.redb", "--failure-detection", "1"];
        Self { folder, cluster: Cluster::start(folder, 1, &[&own, flags].concat()) }
    }

    /// Kills the coordinator and starts it again.
    pub(crate) fn kill(&mut self) {
        self.cluster.restart_coordinator();
    }

    /// The JSON that a command says; none where it fails.
    pub(crate) fn ask(&self, args: &[&str]) -> Option<Value> {
        self.cluster.ask(args)
    }

    /// The same, of one that has to go well.
    pub(crate) fn must(&self, args: &[&str]) -> Value {
        self.folder.result(&[args, &["--coordinator", self.cluster.url()]].concat())
    }

    /// What a command says that fails.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let outcome = self.folder.muster(&[args, &["--coordinator", self.cluster.url()]].concat());
        assert_ne!(outcome.code, Some(0), "{args:?}");
        outcome.json()["error"]["message"].to_string()
    }

    /// Begins the run after a day of March, and gives its id.
    pub(crate) fn trigger(&self, day: u32) -> String {
        let at = format!("2026-03-{:02}T01:00:00Z", day + 1);
        let done = self.must(&["schedules", "trigger", "nightly", "--at", &at]);
        done["runs"][0].as_str().unwrap().to_owned()
    }

    /// Waits until a run is over.
    pub(crate) fn ends(&self, run: &str) -> Value {
        wait_for("the run to end", || {
            let told = self.ask(&["schedules", "run", run])?;
            (!told["outcome"].is_null()).then_some(told)
        })
    }

    /// The run after a day, when it is over.
    pub(crate) fn night(&self, day: u32) -> Value {
        let run = self.trigger(day);
        self.ends(&run)
    }

    pub(crate) fn champion(&self) -> Value {
        self.must(&["models", "show", "shop"])["aliases"]["champion"].clone()
    }
}

/// The names of a run's stages, in order.
pub(crate) fn stages(run: &Value) -> Vec<String> {
    let transitions = run["transitions"].as_array().unwrap().iter();
    transitions.map(|transition| transition["stage"].as_str().unwrap().to_owned()).collect()
}
