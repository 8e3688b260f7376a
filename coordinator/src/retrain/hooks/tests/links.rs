//! Links that move.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn link_hook(path: &std::path::Path) -> Hooks {
    hooks(&format!("[hooks.live]\nkind = \"link\"\npath = \"{}\"\n", path.display()))
}

#[tokio::test]
async fn a_link_is_at_one_model_or_the_other_at_every_moment_while_it_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let models = ["one", "two"].map(|name| folder.path().join(name));
    for model in &models {
        fs::create_dir(model).unwrap();
    }
    let live = folder.path().join("live");
    let hooks = link_hook(&live);
    hooks.call("live", &call(1, models[0].to_str().unwrap())).await.unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut seen = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let at = fs::read_link(&live).unwrap();
                assert!(models.contains(&at) && live.is_dir());
                seen += 1;
            }
            seen
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let moves = scope.spawn(move || {
            runtime.block_on(async {
                for turn in 1..=200_u64 {
                    let at = models_at(folder.path(), turn);
                    hooks.call("live", &call(turn, &at)).await.unwrap();
                }
            });
            folder
        });
        let folder = moves.join().unwrap();
        over.store(true, Ordering::Relaxed);
        assert!(looks.join().unwrap() > 0);
        assert_eq!(fs::read_link(&live).unwrap(), folder.path().join("one"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "something was left beside the link");
    });
}

/// Turn by turn the one model and the other.
fn models_at(folder: &std::path::Path, turn: u64) -> String {
    let name = if turn.is_multiple_of(2) { "one" } else { "two" };
    folder.join(name).display().to_string()
}

#[tokio::test]
async fn a_link_that_a_cut_off_call_left_beside_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    std::os::unix::fs::symlink("/nowhere", folder.path().join("live.new")).unwrap();
    link_hook(&live).call("live", &call(1, folder.path().to_str().unwrap())).await.unwrap();
    assert_eq!(fs::read_link(&live).unwrap(), folder.path());
}

#[tokio::test]
async fn what_a_link_cannot_name_and_what_is_no_link_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let hooks = link_hook(&live);
    let refused =
        async |checkpoint: &str| hooks.call("live", &call(1, checkpoint)).await.unwrap_err().to_string();
    assert!(refused("s3://bucket/model").await.contains("not in a folder"));
    assert!(refused("relative").await.contains("not an absolute path"));
    assert!(refused("/nowhere/at/all").await.contains("there is no such folder"));
    assert!(!live.exists());
    fs::create_dir(&live).unwrap();
    fs::write(live.join("precious"), "x").unwrap();
    assert!(refused(folder.path().to_str().unwrap()).await.contains("not replaced"));
    assert!(live.join("precious").exists());
}
