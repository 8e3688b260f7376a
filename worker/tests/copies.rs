//! Copies in memory: a job that goes on from them ends as if nothing had happened, on any number of ranks.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_collective::Collective;
use muster_proto::checkpoint::Writer;
use muster_proto::ids::Rank;
use muster_proto::job::JobSpec;
use muster_worker::copies::{Copies, restore};
use muster_worker::train::{End, Finished, Hooks, Kept, Place, Progress, train};
use support::{Cluster, dataset, job, wide_dataset, wide_job};

/// Stops a rank after some steps of its own: in order, or as a process that is killed.
struct Stops {
    steps: u64,
    yields: Option<(u64, Vec<Rank>)>,
    dies: Option<u64>,
    caught_up: Option<u64>,
}

impl Hooks for Stops {
    fn progress(&mut self, _: &Progress) {}
    fn validated(&mut self, _: u32, _: u64, _: &BTreeMap<String, f64>) {}
    fn saved(&mut self, _: u64, _: usize, _: u64, _: Option<&PathBuf>) {}
    fn drain(&mut self) -> bool {
        self.steps += 1;
        false
    }
    fn checkpoint(&mut self) -> bool {
        false
    }
    fn yields(&mut self) -> Option<Vec<Rank>> {
        self.yields.clone().filter(|(after, _)| self.steps >= *after).map(|(_, leaving)| leaving)
    }
    fn stepped(&mut self, _: u64, _: Duration) {}
    fn caught_up(&mut self, steps_redone: u64, time: Duration) {
        // The first new step is none that was made again.
        assert_eq!(steps_redone == 0, time.is_zero());
        self.caught_up = Some(steps_redone);
    }
    fn aborted(&mut self) -> Option<String> {
        self.dies.filter(|after| self.steps >= *after).map(|_| "killed".to_owned())
    }
}

/// What a rank left: its copies, how it ended, and the steps that it made again.
type Left = (Copies, Option<End>, Option<u64>);

/// One generation: ranks begin with the copies that they have.
struct Generation<'a> {
    number: u64,
    copies: Vec<Copies>,
    yields: Option<(u64, Vec<Rank>)>,
    dies: Option<u64>,
    data: &'a Path,
    job: &'a JobSpec,
}

impl<'a> Generation<'a> {
    fn new(number: u64, copies: Vec<Copies>, data: &'a Path, job: &'a JobSpec) -> Self {
        Self { number, copies, yields: None, dies: None, data, job }
    }

    fn run(self) -> Vec<Left> {
        let copies: Vec<_> =
            self.copies.into_iter().map(|copies| std::sync::Mutex::new(Some(copies))).collect();
        let cluster = Cluster { generation: self.number, ..Cluster::new(copies.len()) };
        let (yields, dies, number) = (self.yields, self.dies, self.number);
        cluster.on_ranks(|mut collective: Box<dyn Collective>| {
            let rank = collective.rank();
            let mut copies = copies[rank].lock().unwrap().take().unwrap();
            let mut trainer = cluster.trainer(self.data, self.job, &mut *collective);
            let memory = restore(&mut copies, &mut trainer, None, &mut *collective).unwrap();
            let place = Place { run: None, writer: Writer { generation: number, incarnation: 1 }, keep: 1 };
            let kept = Kept { copies: &mut copies, memory };
            // The last rank dies; the others see it by the links that it closes.
            let dies = dies.filter(|_| rank + 1 == collective.world_size());
            let mut hooks = Stops { steps: 0, yields: yields.clone(), dies, caught_up: None };
            let end = train(&mut trainer, &place, kept, &mut hooks, &mut *collective).ok();
            (copies, end, hooks.caught_up)
        })
    }
}

fn each_step(ranks: usize) -> Vec<Copies> {
    (0..ranks).map(|_| Copies::after_each_step()).collect()
}

fn fresh(ranks: usize) -> Vec<Copies> {
    (0..ranks).map(|_| Copies::default()).collect()
}

fn finished(left: Vec<Left>) -> Finished {
    match left.into_iter().next().unwrap().1 {
        Some(End::Finished(finished)) => *finished,
        other => panic!("the run did not finish: {other:?}"),
    }
}

fn copies(left: Vec<Left>) -> Vec<Copies> {
    left.into_iter().map(|(copies, ..)| copies).collect()
}

/// Jobs whose pieces are of every kind.
const JOBS: [&str; 5] = [
    "",
    "[tables.placement]\nitem = \"data_parallel\"\n",
    "[tables.placement]\nitem = \"table_wise\"\n",
    "[model.head.sampled_softmax]\nnegatives = 20\n[table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.01\n\
     [[model.features]]\ncolumn = \"category\"\ndim = 4\n",
    "[model.head.sampled_softmax]\nnegatives = 20\n[table_optimizer]\nkind = \"row_wise_adagrad\"\nlr = 0.01\n\
     [tables]\ncolumn_blocks = { item = 2 }\nplacement = { item = \"column_wise\" }\n",
];

#[test]
fn a_job_that_changes_its_size_between_two_steps_ends_as_one_that_does_not() {
    let data = dataset();
    for text in JOBS {
        let job = job(text);
        let whole = Cluster::new(1).train(data.path(), &job, None);
        let mut left = fresh(2);
        for (number, ranks) in (1..).zip([2, 4, 3, 1]) {
            let mut generation = Generation::new(number, left, data.path(), &job);
            let next = [4, 3, 1, 2][number as usize - 1];
            generation.yields = Some((1, (next..ranks as u32).map(Rank).collect()));
            let ended = generation.run();
            let steps: Vec<_> = ended.iter().map(|(_, end, _)| format!("{end:?}")).collect();
            assert_eq!(steps, vec![format!("Some(Yielded {{ step: {number} }})"); ranks]);
            left = copies(ended);
            left.resize_with(next as usize, Copies::default);
        }
        let finished = finished(Generation::new(5, left, data.path(), &job).run());
        assert_eq!(finished.model_digest, whole.model_digest, "{text}");
        assert_eq!(
            (finished.steps, finished.steps_here, finished.samples),
            (whole.steps, whole.steps, whole.samples)
        );
    }
}

#[test]
fn after_any_one_rank_is_lost_the_others_hold_every_piece_and_end_as_if_it_had_not_been() {
    let data = dataset();
    for text in JOBS {
        let job = job(text);
        let whole = Cluster::new(1).train(data.path(), &job, None);
        for lost in 0..3 {
            let mut generation = Generation::new(1, fresh(3), data.path(), &job);
            generation.dies = Some(4);
            let mut left = copies(generation.run());
            left.remove(lost);
            let ended = Generation::new(2, left, data.path(), &job).run();
            // The first copy is of the first step, the next one is not due before a second has passed.
            assert!(ended.iter().all(|(.., redone)| *redone == Some(3)), "{:?}", ended[0].2);
            let finished = finished(ended);
            assert_eq!(finished.model_digest, whole.model_digest, "{text}, without rank {lost}");
            assert_eq!((finished.steps, finished.samples), (whole.steps, whole.samples));
        }
    }
}

#[test]
fn with_a_piece_in_nobody_s_memory_the_job_begins_again() {
    let (data, job) = (dataset(), job(""));
    let mut generation = Generation::new(1, fresh(4), data.path(), &job);
    generation.dies = Some(4);
    let mut left = copies(generation.run());
    // Rank 1 and the one that had its copy.
    left.drain(1..3);
    let ended = Generation::new(2, left, data.path(), &job).run();
    assert!(ended.iter().all(|(.., redone)| *redone == Some(4)), "{:?}", ended[0].2);
    assert_eq!(finished(ended).model_digest, Cluster::new(1).train(data.path(), &job, None).model_digest);
}

#[test]
fn a_worker_keeps_no_more_than_its_own_pieces_and_its_neighbour_s() {
    let (data, job) = (dataset(), job("[tables]\nrow_blocks = 8\n"));
    let mut generation = Generation::new(1, fresh(4), data.path(), &job);
    generation.yields = Some((3, Vec::new()));
    let alone: u64 = copies(generation.run()).iter().map(Copies::bytes).sum();
    let mut generation = Generation::new(1, fresh(4), data.path(), &job);
    generation.dies = Some(4);
    let held: Vec<u64> = copies(generation.run()).iter().map(Copies::bytes).collect();
    // What yielded is every piece once, and the dense ones on each rank.
    for bytes in held {
        assert!(bytes <= alone / 2 + alone / 20, "{bytes} of {alone} bytes are on one of four ranks");
    }
}

#[test]
fn copies_of_touched_rows_give_the_bits_of_the_step_they_were_made_at_whoever_is_lost_and_how_often() {
    let data = wide_dataset();
    let rules = [
        "",
        "[table_optimizer]\nkind = \"row_wise_adagrad\"\n",
        "[tables.placement]\nitem = \"data_parallel\"\n",
        "[tables]\ncolumn_blocks = { item = 2 }\nplacement = { item = \"column_wise\" }\n",
    ];
    for text in rules {
        let job = wide_job(text);
        let whole = Cluster::new(1).train(data.path(), &job, None);
        for lost in 0..3 {
            let mut left = each_step(4);
            for number in 1..3 {
                let mut generation = Generation::new(number, left, data.path(), &job);
                generation.dies = Some(3);
                left = copies(generation.run());
                left.remove(lost % left.len());
            }
            let ended = Generation::new(3, left, data.path(), &job).run();
            // One step is made again at most: the copy of the last one may not have come through.
            assert!(ended.iter().all(|(.., redone)| redone.unwrap() <= 1), "{:?}", ended[0].2);
            assert_eq!(finished(ended).model_digest, whole.model_digest, "{text}, without rank {lost}");
        }
    }
}

#[test]
fn beside_a_copy_a_worker_keeps_only_the_rows_written_since() {
    let (data, job) = (wide_dataset(), wide_job("[model]\nembedding_dim = 32\nhidden_size = 32\n"));
    // Ranks that yield before a copy is due hold their own pieces and the dense ones.
    let own = |ranks: usize| -> f64 {
        let mut generation = Generation::new(1, fresh(ranks), data.path(), &job);
        generation.yields = Some((1, Vec::new()));
        copies(generation.run()).iter().map(Copies::bytes).sum::<u64>() as f64
    };
    let whole = own(1);
    let dense = own(2) - whole;
    let mut generation = Generation::new(1, each_step(2), data.path(), &job);
    generation.dies = Some(4);
    for copies in copies(generation.run()) {
        let tables = whole - dense;
        let most = muster_proto::checkpoint::copies_bytes(tables / 2.0, tables / 2.0, dense, 0.2);
        let bytes = copies.bytes() as f64;
        assert!(bytes > whole && bytes < most, "{bytes} bytes, a whole copy has {whole}, {most} expected");
        assert!(most < whole * 1.6, "{most} of {whole}");
    }
}
