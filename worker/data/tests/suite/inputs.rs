//! Which files an input stands for, and how they are compressed.

use std::io::Write as _;
use std::os::unix::fs::symlink;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::fixture::{CSV, Folder, files, sequences};

pub(crate) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zst(text: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(text.as_ref(), 3).unwrap()
}

fn day(item: &str, time: u32) -> String {
    format!("user,item,time\n1,{item},{time}\n")
}

/// The sequences that `input` gives; all events have one time, so that the order is that of the files.
fn of(folder: &Folder, input: &str) -> Vec<String> {
    folder.prepare(&CSV.replace("\"log.csv\"", input)).unwrap();
    sequences(&folder.open())
}

fn folder_of_days() -> Folder {
    let folder = Folder::new();
    for dir in ["logs", "logs/b", "logs/a", "logs/_tmp"] {
        std::fs::create_dir(folder.path().join(dir)).unwrap();
    }
    let gz = gzip(day("z", 5));
    for (name, content) in [
        ("logs/b/2.csv", day("b2", 5).into_bytes()),
        ("logs/b/10.csv", day("b10", 5).into_bytes()),
        ("logs/a/1.csv.gz", gz),
        ("logs/c.csv", day("c", 5).into_bytes()),
        ("logs/.hidden.csv", b"rubbish".to_vec()),
        ("logs/_SUCCESS", vec![]),
        ("logs/_tmp/part.csv", b"rubbish".to_vec()),
    ] {
        folder.write(name, content);
    }
    folder
}

#[test]
fn folders_and_patterns_are_read_in_the_order_of_bytes() {
    let folder = folder_of_days();
    for (input, expected) in [
        ("\"logs\"", "z b10 b2 c"),
        ("\"logs/**/*.csv\"", "b10 b2 c"),
        ("\"logs/*/*\"", "z b10 b2"),
        ("\"logs/[bc]*\"", "b10 b2 c"),
        ("\"logs/b/?.csv\"", "b2"),
        ("[\"logs/c.csv\", \"logs/b\"]", "c b10 b2"),
        ("\"logs/**/1*\"", "z b10"),
    ] {
        assert_eq!(of(&folder, input), [format!("1: {expected}")], "{input}");
    }
}

#[test]
fn a_name_with_a_star_in_it_is_that_file_where_there_is_one() {
    let folder = Folder::with("a*.csv", day("star", 1));
    folder.write("ab.csv", day("b", 1));
    assert_eq!(of(&folder, "\"a*.csv\""), ["1: star"]);
}

#[test]
fn what_stands_for_no_file_is_refused() {
    let folder = folder_of_days();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    for input in ["empty", "logs/*.json", "nowhere/*.csv"] {
        let error = folder.refused(&CSV.replace("log.csv", input));
        assert!(error.contains(input) && error.contains("stands for no file"), "{error}");
    }
}

#[test]
fn a_folder_that_contains_itself_is_refused_and_a_link_is_followed() {
    let folder = folder_of_days();
    symlink("../other", folder.path().join("logs/link")).unwrap();
    std::fs::create_dir(folder.path().join("other")).unwrap();
    folder.write("other/o.csv", day("o", 5));
    assert_eq!(of(&folder, "\"logs\""), ["1: z b10 b2 c o"]);
    symlink("../logs", folder.path().join("other/back")).unwrap();
    for input in ["logs", "logs/**/*.csv", "log*"] {
        let error = folder.prepare(&CSV.replace("log.csv", input)).unwrap_err().to_string();
        assert!(
            error.contains("logs/link/back is a link to") && error.contains("which contains it"),
            "{error}"
        );
    }
    symlink("self.csv", folder.path().join("self.csv")).unwrap();
    let error = folder.prepare(&CSV.replace("log.csv", "self.csv")).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("self.csv"), "{error}");
}

#[test]
fn compressed_files_give_the_bytes_of_plain_ones() {
    let text: String = (0..5000).map(|row| format!("{},{},{row}\n", row % 37, row % 91)).collect();
    let text = format!("user,item,time\n{text}");
    let folder = Folder::with("log.csv", &text);
    folder.prepare(CSV).unwrap();
    let plain = files(&folder.out());
    let two_members = [gzip(&text[..20_000]), gzip(&text[20_000..])].concat();
    let two_frames = [zst(&text[..20_000]), zst(&text[20_000..])].concat();
    // Content tells the format, whatever the name is.
    for bytes in [gzip(&text), two_members, zst(&text), two_frames] {
        folder.write("log.csv", bytes);
        folder.prepare(CSV).unwrap();
        assert_eq!(files(&folder.out()), plain);
    }
    folder.write("log.csv.zst", zst(&text));
    folder.prepare(&CSV.replace("log.csv", "log.csv.zst")).unwrap();
    assert_eq!(files(&folder.out()), plain);
}

#[test]
fn compressed_json_lines_and_item_tables_are_read() {
    let folder = Folder::with("log.csv", gzip("{\"user\": 1, \"item\": \"a\", \"time\": 3}\n"));
    folder.write("tags.json.gz", gzip("{\"a\": [\"x\"]}"));
    let table = "[[item_tables]]\ninput = \"tags.json.gz\"\nformat = \"json_map\"\ncategorical = [\"tag\"]\n";
    folder.prepare(&format!("{}{table}", CSV.replace("\"csv\"", "\"jsonl\""))).unwrap();
    assert_eq!(folder.open().manifest().rows_of("tag"), Some(2));
}
