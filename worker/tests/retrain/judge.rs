//! What candidates are judged by.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use muster_core::retrain::gates::{Evidence, Judgement, Outcome, UserScore};
use muster_data::{Dataset, Split};
use muster_proto::config;
use muster_proto::control::{Contender, JudgeDone, JudgeUnit, WindowDone, WindowUnit};
use muster_proto::job::JobSpec;
use muster_proto::schedule::GatesSpec;
use muster_worker::checkpoint;
use muster_worker::evaluate::{Evaluation, Metrics};
use muster_worker::retrain::{Error, Work, judge};
use muster_worker::standalone::Standalone;

use crate::{Shop, from, message, week, work};

/// Gates as a schedule file has them.
fn gates(text: &str) -> GatesSpec {
    toml::from_str(text).unwrap()
}

const ALL: &str = "[at_least]\n\"NDCG@10\" = 0.01\n[relative]\nrule = \"not_worse\"\nmargin = 0.05\nmin_users = 30\n\
    [[slices]]\nby = \"new_users\"\nfloor = 0.0\nmin_users = 30\n[[slices]]\nby = \"new_items\"\nfloor = 0.0\n\
    min_users = 30\n[[slices]]\nby = \"category\"\nmax_drop = 0.9\nmin_users = 30\n[sanity]\nmax_norm_ratio = 3.0\n\
    min_coverage = 0.01\nmax_popularity_drift = 4.0\n[budget]\nmax_size = \"10 MiB\"\nmax_latency = \"10s\"\n\
    [approval]\nexpires = \"1h\"\n";

fn unit(shop: &Shop, run: &str, done: &WindowDone, champion: Option<&Contender>) -> JudgeUnit {
    JudgeUnit {
        workspace: shop.workspace(),
        run: run.to_owned(),
        run_dir: done.submission.run_dir.clone(),
        dataset: done.dataset.clone(),
        champion: champion.cloned(),
        gates: gates(ALL),
    }
}

fn evidence(done: &JudgeDone) -> Evidence {
    serde_json::from_slice(&fs::read(&done.evidence).unwrap()).unwrap()
}

fn judgement(done: &JudgeDone) -> Judgement {
    serde_json::from_value(done.judgement.clone()).unwrap()
}

/// What `muster evaluate` says of a run.
fn evaluated(done: &WindowDone) -> Evaluation {
    let reader = checkpoint::find(Path::new(&done.submission.run_dir), true).unwrap();
    let job: JobSpec = config::parse(&reader.manifest.job, "job", &[]).unwrap();
    let mut model = Standalone::open(job, &reader, Path::new(&done.dataset), 2).unwrap();
    model.evaluate(Split::Test).unwrap()
}

/// The same metrics with the same values, but for the last digits of what was read from a file.
fn assert_close(found: &Metrics, expected: &Metrics) {
    assert!(found.keys().eq(expected.keys()), "{found:?} {expected:?}");
    for (name, value) in found {
        assert!((value - expected[name]).abs() < 1e-12, "{name}: {value} is not {}", expected[name]);
    }
}

fn mean(users: &[UserScore], score: impl Fn(&UserScore) -> f64) -> f64 {
    users.iter().map(score).sum::<f64>() / users.len() as f64
}

#[test]
fn the_evidence_of_a_first_model_is_what_an_evaluation_says_of_it() {
    let shop = Shop::with(0..3);
    let (window, champion) = shop.train(&shop.unit("first", 2));
    let unit = JudgeUnit {
        gates: gates(&format!("cold_start = \"approval\"\n{ALL}")),
        ..unit(&shop, "first", &window, None)
    };
    let done = judge(&unit, &work()).unwrap();
    let (found, expected) = (evidence(&done), evaluated(&window));
    assert_close(&found.candidate.metrics, &expected.metrics);
    assert_eq!((done.metrics, done.champion_metrics.len()), (expected.metrics.clone(), 0));
    assert_eq!(found.users.len() as u64, expected.users);
    assert!((mean(&found.users, |user| user.candidate) - expected.metrics["NDCG@10"]).abs() < 1e-12);
    assert!(found.users.iter().all(|user| user.champion.is_none() && user.slices.len() == 3));
    assert!(found.users.is_sorted_by(|a, b| a.user < b.user));
    // Parts of the holdout are those of the log: week 2 has items and categories that training never saw.
    let values = |by: &str| -> BTreeSet<String> {
        found.slices.iter().filter(|slice| slice.by == by).map(|slice| slice.value.clone()).collect()
    };
    assert_eq!(values("new_users"), ["no".to_owned()].into());
    assert_eq!(values("new_items"), ["no".to_owned(), "yes".to_owned()].into());
    assert!(values("category").contains("c1") && values("category").contains("(unknown)"));
    let measured = &found.candidate;
    assert_eq!(
        (measured.non_finite, measured.model_digest.as_str()),
        (Some(0), champion.model_digest.as_str())
    );
    assert!(measured.longest_row.unwrap() > 0.0 && measured.latency.unwrap().as_nanos() > 0);
    let files =
        fs::read_dir(&champion.checkpoint).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!((measured.bytes, done.bytes), (Some(done.bytes), files.sum()));
    let manifest = fs::read(Path::new(&champion.checkpoint).join("manifest.json")).unwrap();
    assert_eq!(done.checkpoint_digest, blake3::hash(&manifest).to_hex().to_string());
    assert_eq!((done.checkpoint, done.model_digest), (champion.checkpoint, champion.model_digest));
    // A person is asked later, by whoever has them.
    let judgement: Judgement = serde_json::from_value(done.judgement).unwrap();
    assert!(judgement.verdicts.iter().all(|verdict| verdict.gate != "approval"), "{judgement:?}");
    assert_eq!(judgement.outcome, Outcome::Passed, "{judgement:?}");
}

#[test]
fn a_candidate_that_is_the_champion_scores_the_same_for_each_user() {
    let shop = Shop::with(0..3);
    let (window, champion) = shop.train(&shop.unit("first", 2));
    let done = judge(&unit(&shop, "first", &window, Some(&champion)), &work()).unwrap();
    let found = evidence(&done);
    assert_eq!(done.metrics, done.champion_metrics);
    assert!(found.users.iter().any(|user| user.candidate > 0.0));
    for user in &found.users {
        assert_eq!(user.champion.map(f64::to_bits), Some(user.candidate.to_bits()), "user {}", user.user);
    }
    let champion = found.champion.unwrap();
    assert_eq!(champion.longest_row, found.candidate.longest_row);
    assert_eq!(judgement(&done).champion.as_ref(), Some(&champion.model_digest));
}

#[test]
fn a_champion_is_scored_by_what_it_knows_on_the_candidates_holdout() {
    let shop = Shop::with(0..3);
    let (before, champion) = shop.train(&shop.unit("first", 2));
    shop.write(3, &week(3));
    let next = WindowUnit { warm_start: from(&champion), ..shop.unit("next", 3) };
    let (window, _) = shop.train(&next);
    let done = judge(&unit(&shop, "next", &window, Some(&champion)), &work()).unwrap();
    let found = evidence(&done);
    let (then, now) = (&before.dataset, &window.dataset);
    let [then, now] = [then, now].map(|dir| Dataset::open(Path::new(dir)).unwrap());
    let (known, items) = (then.load_items().unwrap(), now.load_items().unwrap());
    let (mut strangers, mut hits) = (0, 0);
    let users: std::collections::BTreeMap<u32, &UserScore> =
        found.users.iter().map(|user| (user.user, user)).collect();
    for index in 0..now.manifest().partitions.len() as u32 {
        let partition = now.load(index).unwrap();
        for user in 0..partition.users() {
            let Some(held) = partition.held_out(user, Split::Test) else { continue };
            let scored = users[&(partition.first_user + user)];
            if known.id(items.key(partition.items[held.target])).is_none() {
                assert_eq!(scored.champion, Some(0.0), "it cannot recommend what it does not know");
                strangers += 1;
            } else {
                hits += u32::from(scored.champion.unwrap() > 0.0);
            }
        }
    }
    assert!(strangers > 0 && hits > 0, "{strangers} {hits}");
    let theirs = &found.champion.as_ref().unwrap().metrics;
    let champions = mean(&found.users, |user| user.champion.unwrap());
    assert!((champions - theirs["NDCG@10"]).abs() < 1e-12, "{champions} {}", theirs["NDCG@10"]);
    assert_close(theirs, &done.champion_metrics);
    // Nothing that it does not know is in a list.
    let share = known.len() as f64 / items.len() as f64;
    assert!(theirs["Coverage@10"] <= share && share < 1.0, "{} {share}", theirs["Coverage@10"]);
    assert!(judgement(&done).verdicts.iter().any(|verdict| verdict.gate == "relative"));
    // A second attempt comes to the same, but for what it took.
    let again = judge(&unit(&shop, "next", &window, Some(&champion)), &work()).unwrap();
    let mut second = evidence(&again);
    second.candidate.latency = found.candidate.latency;
    assert_eq!(second, found);
}

#[test]
fn what_cannot_be_judged_is_refused_with_what_to_change() {
    let shop = Shop::with(0..3);
    let (window, champion) = shop.train(&shop.unit("first", 2));
    let right = unit(&shop, "first", &window, Some(&champion));
    let refused = |change: &dyn Fn(&mut JudgeUnit)| {
        let mut unit = right.clone();
        change(&mut unit);
        message(judge(&unit, &work()))
    };
    let text = refused(&|unit| unit.gates.metric = "Coverage@10".to_owned());
    assert!(text.contains("Coverage@10 is no metric of single users"), "{text}");
    let text = refused(&|unit| unit.gates.slices[0].by = "brand".to_owned());
    assert!(text.contains("column `brand`, the dataset has: new_users, new_items, category"), "{text}");
    let text = refused(&|unit| unit.run_dir = shop.workspace());
    assert!(text.contains("has no checkpoint"), "{text}");
    let other = |unit: &mut JudgeUnit| unit.champion.as_mut().unwrap().model_digest = "0".repeat(64);
    let text = refused(&other);
    assert!(text.contains("is not the champion that the candidate is to be held against"), "{text}");
    let gone = |unit: &mut JudgeUnit| unit.champion.as_mut().unwrap().checkpoint = shop.workspace();
    let text = refused(&gone);
    assert!(text.contains("has no checkpoint"), "{text}");
    let stopped = Work { threads: 1, pulse: &|| false };
    assert!(matches!(judge(&right, &stopped), Err(Error::Stopped)));
    // Another dataset than the one that it was trained on.
    let (next, _) =
        shop.train(&WindowUnit { from: Some(crate::begins(0) + 20_000_000), ..shop.unit("next", 2) });
    let text = refused(&|unit| unit.dataset = next.dataset.clone());
    assert!(text.contains("was trained on the dataset"), "{text}");
}
