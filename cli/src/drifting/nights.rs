//! The cluster, its clock, and what is done each night.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use muster_coordinator::{Clock, Hooks};
use muster_core::retrain::Stage;
use muster_core::retrain::command::{Applied, Command, Question, Request};
use muster_core::retrain::registry::Version;
use muster_core::retrain::view::{Done, ModelView, RunView, ScheduleView};
use muster_proto::config;
use muster_proto::control::DeviceKind;
use muster_proto::hooks::HooksSpec;
use muster_proto::rpc::{Repeat, RetrainClient, Target};

use super::Args;
use super::plan::{self, Planted};
use super::scores::{Champions, DayData, scored};
use super::shop::Shop;
use super::told::{Day, Told};
use crate::cluster::CALL_DEADLINE;
use crate::cmd::demo::write;
use crate::cmd::schedules::apply;
use crate::context::Context;
use crate::error::Error;
use crate::local::{LocalCluster, Plan, Retraining, threads_each};
use crate::pages;

const FILES: [(&str, &str); 7] = [
    ("dataset.toml", include_str!("../../../deploy/examples/loop/dataset.toml")),
    ("job.toml", include_str!("../../../deploy/examples/loop/job.toml")),
    ("warm.job.toml", include_str!("../../../deploy/examples/loop/warm.job.toml")),
    ("nightly.toml", include_str!("../../../deploy/examples/loop/nightly.toml")),
    ("full.toml", include_str!("../../../deploy/examples/loop/full.toml")),
    ("once.toml", include_str!("../../../deploy/examples/loop/once.toml")),
    ("hooks.toml", include_str!("../../../deploy/examples/loop/hooks.toml")),
];
/// The learning rate as the job file has it, and as somebody gets it wrong.
const RIGHT_RATE: &str = "lr = 0.006";
const WRONG_RATE: &str = "lr = 1.0";
/// Of the answers, what is left when the service breaks.
const BROKEN: f64 = 0.25;
/// How long all that a night does may take.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(50);

/// The month.
pub(super) struct Loop<'a> {
    context: &'a Context,
    folder: PathBuf,
    days: u32,
    workers: u32,
    cluster: LocalCluster,
    client: RetrainClient,
    clock: Clock,
    shop: Shop,
}

impl<'a> Loop<'a> {
    /// Starts the cluster, with a week of logs there already.
    pub(super) async fn start(context: &'a Context, args: &Args, folder: PathBuf) -> Result<Self, Error> {
        for (name, text) in FILES {
            write(&folder, name, text)?;
        }
        let shop = Shop::open(&folder, args.seed)?;
        // The fires of this night are over.
        let clock = Clock::set_by_hand(shop.midnight() + SignedDuration::from_hours(2));
        let hooks: HooksSpec = config::load(&folder.join("hooks.toml"), &[])?;
        let hooks = Hooks::open(&hooks.rooted(&folder)).map_err(|error| Error::failed(error.to_string()))?;
        let plan = Plan {
            workers: args.workers,
            needed: 1,
            threads: threads_each(args.workers),
            device: DeviceKind::Cpu,
            gpus: 0,
            log_level: context.log_level,
            log_dir: folder.join("logs-of-workers"),
        };
        let cluster = LocalCluster::start_with(plan, Retraining { clock: clock.clone(), hooks }).await?;
        let target = Target { url: cluster.url.as_str().into(), token: None, deadline: CALL_DEADLINE };
        let client = RetrainClient::connect(target).await?;
        let month =
            Self { context, folder, days: args.days, workers: args.workers, cluster, client, clock, shop };
        month.apply_nightly(None).await?;
        for name in ["full", "once"] {
            month.ask(Command::Apply { schedule: Box::new(month.read(name)?) }).await?;
        }
        Ok(month)
    }

    fn read(&self, name: &str) -> Result<Applied, Error> {
        apply::read(
            &self.folder.join(format!("{name}.toml")),
            &[format!("training.workers={}", self.workers)],
        )
    }

    /// Applies the schedule of the loop, where it is said with another learning rate.
    async fn apply_nightly(&self, rate: Option<&str>) -> Result<(), Error> {
        let mut applied = self.read("nightly")?;
        if let Some(rate) = rate {
            applied.job_toml = applied.job_toml.replace(RIGHT_RATE, rate);
        }
        self.ask(Command::Apply { schedule: Box::new(applied) }).await.map(drop)
    }

    /// All days.
    pub(super) async fn run(&mut self) -> Result<Told, Error> {
        let mut told = Told::new(&self.folder);
        for day in 1..=self.days {
            let day = self.day(day).await?;
            self.context.output.say(&day.line())?;
            told.days.push(day);
        }
        told.runs = pages::runs(&self.client, None, None).await?;
        told.model = Some(self.model("shop").await?);
        told.history = pages::history(&self.client, "shop").await?;
        told.fleet = self.tell(Question::Fleet).await?;
        Ok(told)
    }

    /// Ends the cluster.
    pub(super) async fn stop(self) -> Result<(), Error> {
        self.cluster.stop().await
    }

    async fn day(&mut self, number: u32) -> Result<Day, Error> {
        let planted = plan::of_day(number);
        self.shop.next_day(planted.map(|(what, _)| what))?;
        let midnight = self.shop.midnight();
        let before = Champions {
            shop: self.champion("shop").await?,
            full: self.champion("shop-full").await?,
            once: self.champion("shop-once").await?,
        };
        let mut day = Day { number, date: midnight - SignedDuration::from_hours(24), ..Day::default() };
        day.planted = planted.map(|(_, words)| words.to_owned());
        // The comparison comes first: its dataset has the day's views, on which all are scored.
        self.at(midnight, 15).await?;
        if number == 1 {
            self.ask(Command::Pause { schedule: "once".to_owned() }).await?;
        }
        if let Some(data) = self.data_of("full", midnight).await? {
            day.scores = scored(&before, &data).await?;
        }
        if let Some(score) = &day.scores.shop {
            let is_broken = planted.is_some_and(|(what, _)| what == Planted::Service);
            let value = score.hit_rate * if is_broken { BROKEN } else { 1.0 };
            let version = before.shop.as_ref().map(|version| version.number.0);
            let (model, metric) = ("shop".to_owned(), "hits".to_owned());
            self.ask(Command::Metric { model, version, metric, value, samples: score.users }).await?;
        }
        self.at(midnight, 45).await?;
        if planted.is_some_and(|(what, _)| what == Planted::Job) {
            self.apply_nightly(Some(WRONG_RATE)).await?;
            self.at(midnight, 60).await?;
            self.apply_nightly(None).await?;
        }
        self.at(midnight, 60).await?;
        // Nobody is there on the first night; on the second somebody agrees to the first model.
        if number > 1 {
            self.approve_all().await?;
        }
        self.settle().await?;
        day.champion = self.champion("shop").await?.map(|version| version.number.0);
        let nights = self.runs("nightly").await?;
        let of_night = |run: &&RunView| run.logical == midnight + SignedDuration::from_hours(1);
        day.night = nights.iter().filter(of_night).max_by_key(|run| run.attempt).cloned();
        Ok(day)
    }

    async fn approve_all(&self) -> Result<(), Error> {
        for run in self.runs("nightly").await? {
            if matches!(run.stage, Stage::Approving { .. }) {
                self.ask(Command::Approve { run: run.run }).await?;
            }
        }
        Ok(())
    }

    /// Sets the clock so many minutes after midnight, and waits until all is done that is due.
    async fn at(&mut self, midnight: Timestamp, minutes: i64) -> Result<(), Error> {
        self.clock.set(midnight + SignedDuration::from_mins(minutes));
        self.settle().await
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.is_settled().await? {
            if tokio::time::Instant::now() > deadline {
                return Err(Error::failed(format!(
                    "a night took more than {PATIENCE:?}; see the logs of the workers"
                )));
            }
            tokio::select! {
                ended = self.cluster.ended_worker() => {
                    let log = self.cluster.log_tail(ended.number);
                    return Err(Error::failed(format!("worker {} ended: {}\n{log}", ended.number, ended.status)));
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// Whether nothing is due and nobody works.
    async fn is_settled(&self) -> Result<bool, Error> {
        let now = self.clock.now();
        let schedules = pages::schedules(&self.client).await?;
        let is_quiet = |schedule: &ScheduleView| {
            schedule.next.is_none_or(|next| next > now)
                && schedule.retrying.iter().all(|at| *at > now)
                && schedule.queued.is_empty()
        };
        if !schedules.iter().all(is_quiet) {
            return Ok(false);
        }
        for run in schedules.into_iter().flat_map(|schedule| schedule.active) {
            let run: RunView = self.tell(Question::Run { run }).await?;
            let waits = match &run.stage {
                Stage::Ended { .. } => true,
                Stage::Waiting { until } | Stage::Approving { until } | Stage::Watching { until } => {
                    *until > now
                }
                Stage::Promoting(call) | Stage::RollingBack(call) => call.at > now,
                _ => false,
            };
            if !waits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The dataset of the run of a schedule that fired after a midnight, if it came to one.
    async fn data_of(&self, schedule: &str, midnight: Timestamp) -> Result<Option<DayData>, Error> {
        let runs = self.runs(schedule).await?;
        let of_night = runs.into_iter().find(|run| run.logical >= midnight && run.version.is_some());
        let dataset = of_night.and_then(|run| run.dataset);
        Ok(dataset.map(|dataset| {
            let folder = PathBuf::from(dataset.folder);
            DayData { run: folder.with_file_name("train"), folder }
        }))
    }

    async fn runs(&self, schedule: &str) -> Result<Vec<RunView>, Error> {
        pages::runs(&self.client, Some(schedule), None).await
    }

    async fn model(&self, model: &str) -> Result<ModelView, Error> {
        pages::model(&self.client, model).await
    }

    async fn champion(&self, model: &str) -> Result<Option<Version>, Error> {
        let model = self.model(model).await?;
        let champion = model.aliases.get("champion").copied();
        Ok(model.versions.into_iter().find(|version| Some(version.number.0) == champion))
    }

    async fn ask(&self, command: Command) -> Result<Done, Error> {
        let request = Request { by: "demo".to_owned(), command };
        Ok(self.client.command(&request, Repeat::Unsafe).await?)
    }

    async fn tell<T: serde::de::DeserializeOwned>(&self, question: Question) -> Result<T, Error> {
        Ok(self.client.tell(&question).await?)
    }
}
