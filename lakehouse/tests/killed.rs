//! Two processes on one database and the same partitions, killed at any moment, again and again.
//!
//! This binary is both: with `writer <folder>` it commits as fast as it can until it is killed; without,
//! it starts such writers and kills them, and then counts every row.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{check_rows, position_of, request, source, spec, sqlite, starts};
use lakehouse::commit::Lakehouse;
use lakehouse::ids::PartitionId;

const KILLS: u32 = 25;
const START: [(i32, i64); 2] = [(0, 0), (1, 100)];

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match &args[1..] {
        [role, folder] if role == "writer" => runtime.block_on(write(Path::new(folder))),
        // Asked by the test harness of other tools for its list of tests.
        [flag, ..] if flag == "--list" => println!("killed: test"),
        _ => runtime.block_on(kill_writers()),
    }
}

async fn write(folder: &Path) {
    let spec = spec("killed");
    let lakehouse = Lakehouse::open(&sqlite(folder)).await.unwrap();
    let sink = lakehouse.ensure(&spec).await.unwrap();
    let mut position = sink.pin(&source(), &starts(&START)).await.unwrap();
    let mut step = 1;
    loop {
        let next = |partition| position.get(PartitionId::new(partition)).unwrap().get();
        step = step % 7 + 1;
        let batch = [(0, next(0), next(0) + step), (1, next(1), next(1) + 8 - step)];
        let batch = &batch[..if step == 3 { 1 } else { 2 }];
        let request = request(&sink, &spec, batch).await;
        position = position_of(&sink.commit(&request).await.unwrap()).clone();
    }
}

async fn kill_writers() {
    let folder = tempfile::tempdir().unwrap();
    let mut writers: Vec<Child> = (0..2).map(|_| start(folder.path())).collect();
    for kill in 0..KILLS {
        // From before the first commit of a process to many commits later.
        let life = 10 + u64::from(kill * 53 % 190);
        std::thread::sleep(Duration::from_millis(life));
        let mut writer = writers.remove(0);
        assert!(writer.try_wait().unwrap().is_none(), "a writer died by itself");
        writer.kill().unwrap();
        writer.wait().unwrap();
        writers.push(start(folder.path()));
    }
    for mut writer in writers {
        assert!(writer.try_wait().unwrap().is_none(), "a writer died by itself");
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    let lakehouse = Lakehouse::open(&sqlite(folder.path())).await.unwrap();
    let rows = check_rows(&lakehouse, &spec("killed"), &START).await;
    let table = lakehouse.table("killed", "rows").await.unwrap().unwrap();
    let commits = table.snapshots().first().map_or(0, |snapshot| snapshot.sequence);
    println!("{KILLS} kills, {commits} commits, {rows} rows: 0 lost, 0 duplicated");
    assert!(commits > i64::from(KILLS), "too few commits to mean anything");
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["writer", folder.to_str().unwrap()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}
