//! A file under `file://` is there whole or not at all, whenever its writer is killed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use lakehouse::storage::Store;

/// Where the writer writes; set by the test that starts it.
const FOLDER: &str = "WHOLE_FILES_FOLDER";

/// Large enough for a kill to land within it.
const FILE_BYTES: usize = 8 << 20;

const ROUNDS: usize = 24;

/// The process that is killed; a test that passes at once when nobody asked for it.
#[tokio::test]
async fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = folder.into_string().unwrap();
    let store = Store::open(&format!("file://{folder}"), None).unwrap();
    for number in 0..=u8::MAX {
        let bytes = Bytes::from(vec![number; FILE_BYTES]);
        // Seen by the other side before the write, so that the kill may fall into it.
        println!("writing {number}");
        store.put_new(&format!("file://{folder}/{number}.avro"), bytes).await.unwrap();
    }
}

/// Starts a writer, kills it while it writes its file number `during`, and waits for its end.
fn kill_one(folder: &Path, during: usize) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let announced = lines.map(Result::unwrap).filter(|line| line.contains("writing "));
    announced.take(during + 1).for_each(drop);
    writer.kill().unwrap();
    writer.wait().unwrap();
}

#[test]
fn a_killed_writer_leaves_whole_files_only() {
    let (mut whole, mut staged) = (0, 0);
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        kill_one(folder.path(), round % 4);
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension() != Some(OsStr::new("avro")) {
                staged += 1;
                continue;
            }
            let number: u8 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len(), FILE_BYTES, "{} is cut short", path.display());
            assert!(bytes.iter().all(|byte| *byte == number), "{} is torn", path.display());
            whole += 1;
        }
    }
    assert!(whole >= ROUNDS, "{whole} whole files in {ROUNDS} rounds");
    assert!(staged > 0, "no kill fell into a write: the test proved nothing");
}
