//! What happens between steps: copies of memory, and checkpoints.

use muster_proto::job::OptimizerKind;
use muster_proto::measured::Term;
use muster_proto::sharding::TableDecl;

use super::ranks::Unconnected;
use super::watch::Watch;
use super::{Effort, Points, threads, values};
use crate::checkpoint::encode_shard;
use crate::embedding::{Init, Shard};

pub(super) fn measure(effort: &Effort, points: &mut Points) -> Result<(), Unconnected> {
    for ranks in &effort.workers {
        for bytes in effort.some(&[65_536, 1 << 20, 1 << 25]) {
            let times = threads::run(*ranks, effort.time(), || {
                let (from, mut to) = (values(bytes / 4, 1.0), vec![0.0_f32; bytes / 4]);
                move |watch: &mut Watch| {
                    to.copy_from_slice(&from);
                    watch.lap(0);
                    std::hint::black_box(&to);
                }
            });
            points.point(Term::Copy, (&[], bytes, *ranks), times[0]);
        }
    }
    let folder = std::env::temp_dir().join(format!("muster-calibrate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(Unconnected::Write)?;
    let measured = checkpoints(effort, &folder, points);
    std::fs::remove_dir_all(&folder).map_err(Unconnected::Write)?;
    measured
}

fn checkpoints(effort: &Effort, folder: &std::path::Path, points: &mut Points) -> Result<(), Unconnected> {
    for rows in effort.some(&[2_000, 20_000, 200_000]) {
        let decl = TableDecl {
            name: "trial".into(),
            rows,
            dim: 16,
            row_blocks: 1,
            bias: false,
            placement: None,
            columns: None,
        };
        let shard = Shard::initial(&decl, 0, OptimizerKind::Adam, Init { seed: 1, std: 0.05 });
        let mut failed = None;
        let bytes = encode_shard(&shard, OptimizerKind::Adam).len();
        let mut watch = Watch::new();
        for _ in 0..3 {
            watch.begin();
            let encoded = encode_shard(&shard, OptimizerKind::Adam);
            std::hint::black_box(blake3::hash(&encoded));
            let path = folder.join("piece");
            failed = failed.or(std::fs::File::create(&path)
                .and_then(|mut file| {
                    std::io::Write::write_all(&mut file, &encoded)?;
                    file.sync_all()
                })
                .err());
            watch.lap(0);
        }
        if let Some(error) = failed {
            return Err(Unconnected::Write(error));
        }
        points.point(Term::Checkpoint, (&[], bytes, 1), watch.medians()[0]);
    }
    Ok(())
}
