//! Every parser fed with logs that were broken on purpose, for as long as is asked for.
//!
//! `MUSTER_FUZZ="20m" MUSTER_DATA= cargo test --release -p muster-data --test suite fuzz -- --nocapture` runs each parser for 20 minutes, all at
//! once, and prints how many cases that were; without it each has a moment. Cases come from a seed (`MUSTER_FUZZ_SEED`, a number), so that a
//! failure, which prints its seed and case, is found again.
//!
//! What must hold: no panic and no hang; what comes out is a dataset that loads, or an error that names the file; rows that are
//! kept, dropped and left out are accounted for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use muster_proto::units::parse_duration;

use crate::fixture::Folder;
use crate::fuzz_inputs::{FORMATS, Input, mutated};

/// Numbers that follow from a seed: xorshift with a multiplication (S. Vigna, xorshift64*, 2016).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Cases in which something was found once; they are run first, as long as cases follow from their seeds as they did.
const FOUND: [(&str, u64); 4] = [("parquet", 2698), ("parquet", 18_153), ("csv", 862), ("semicolon", 862)];

/// What a case may take; a parser that hangs takes longer.
const LONGEST: Duration = Duration::from_secs(30);

/// Prepares one case; gives what is wrong with what came of it.
fn run(input: &Input) -> Result<(), String> {
    let folder = Folder::with(input.name, &input.bytes);
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let prepared = folder.prepare(&input.spec);
        match prepared {
            Err(error) => {
                let text = error.to_string();
                let names_it = text.contains(input.name) || text.contains("no event is left");
                return if names_it { Ok(()) } else { Err(format!("an error without the file: {text}")) };
            }
            Ok(manifest) => {
                let report = &manifest.cleaning;
                let dropped: u64 = report.dropped.values().sum();
                if report.rows_in != report.rows_out + dropped {
                    return Err(format!("rows are not accounted for: {report:?}"));
                }
                let dataset = folder.open();
                for index in 0..manifest.partitions.len() as u32 {
                    dataset
                        .load(index)
                        .map_err(|error| format!("what was written does not load: {error}"))?;
                }
                dataset.load_items().map_err(|error| format!("items do not load: {error}"))?;
            }
        }
        Ok(())
    }));
    let took = started.elapsed();
    match outcome {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("a panic: {}", text.unwrap_or_default()))
        }
        Ok(_) if took > LONGEST => Err(format!("it took {took:?}")),
        Ok(found) => found,
    }
}

fn asked() -> (Duration, u64) {
    let read = |name: &str| std::env::var(name).ok();
    let length =
        read("MUSTER_FUZZ").map_or(Duration::from_millis(500), |text| parse_duration(&text).unwrap());
    let seed = read("MUSTER_FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    (length, seed)
}

/// Runs one parser for the time that is asked for.
fn fuzz(format: &str) {
    let (length, first) = asked();
    let deadline = Instant::now() + length;
    let mut cases = 0;
    let found = FOUND.iter().filter(|(of, _)| *of == format).map(|(_, seed)| *seed);
    for seed in found.chain(first..) {
        let input = mutated(format, &mut Random::new(seed));
        if let Err(wrong) = run(&input) {
            let shown = String::from_utf8_lossy(&input.bytes[..input.bytes.len().min(2000)]).into_owned();
            panic!("{format}, MUSTER_FUZZ_SEED={seed}: {wrong}\n{shown:?}");
        }
        cases += 1;
        if Instant::now() >= deadline {
            break;
        }
    }
    println!("{format}: {cases} cases in {length:?} from seed {first}");
    assert!(cases > 0);
}

#[test]
fn fuzz_csv() {
    fuzz("csv");
}

#[test]
fn fuzz_tsv() {
    fuzz("tsv");
}

#[test]
fn fuzz_semicolon() {
    fuzz("semicolon");
}

#[test]
fn fuzz_jsonl() {
    fuzz("jsonl");
}

#[test]
fn fuzz_lines() {
    fuzz("lines");
}

#[test]
fn fuzz_parquet() {
    fuzz("parquet");
}

#[test]
fn fuzz_gzip() {
    fuzz("gzip");
}

#[test]
fn fuzz_zstd() {
    fuzz("zstd");
}

#[test]
fn every_parser_has_a_case_that_is_whole() {
    for format in FORMATS {
        let whole = crate::fuzz_inputs::whole(format, &mut Random::new(7));
        let folder = Folder::with(whole.name, &whole.bytes);
        let manifest = folder.prepare(&whole.spec).unwrap();
        assert!(manifest.events > 0 && manifest.cleaning.left_out.is_empty(), "{format}");
    }
}
