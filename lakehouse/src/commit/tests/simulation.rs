//! Rival writers on a catalog that lies, from a seed.

use std::sync::Arc;
use std::time::Duration;

use super::world::{World, file, offsets, request, source, told};
use crate::Kind;
use crate::catalog::faulty::{Fault, FaultyCatalog};
use crate::ids::PartitionId;

const SEEDS: u64 = 150;
const WRITERS: u64 = 3;
const ROUNDS: u64 = 12;
const PARTITIONS: i32 = 3;

/// xorshift64*: enough chance for a schedule, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn fault(&mut self) -> Fault {
        let faults = Fault::ALL.len() as u64;
        // A malformed request ends the loop by itself; it has a test of its own.
        let fault = Fault::ALL[usize::try_from(self.roll(faults - 1)).unwrap()];
        if self.roll(3) == 0 { Fault::None } else { fault }
    }
}

async fn write(world: World, catalog: Arc<FaultyCatalog>, seed: u64) {
    let mut dice = Dice::new(seed);
    let sink = world.sink_on(catalog).await;
    let mut position = sink.position(&source()).await.unwrap();
    for _ in 0..ROUNDS {
        let mut ranges = Vec::new();
        for partition in 0..PARTITIONS {
            if dice.roll(2) == 0 {
                let start = position.get(PartitionId::new(partition)).unwrap().get();
                ranges.push((partition, start, start + 1 + dice.roll(20).cast_signed()));
            }
        }
        let mut batch = request(&ranges);
        batch.deadline = Duration::from_millis(if dice.roll(8) == 0 { 1 } else { 20_000 });
        if dice.roll(6) == 0 {
            world.foreign_append(&[file(format!("foreign/{}", batch.attempt), 1)]).await;
        }
        let outcome = loop {
            match sink.commit(&batch).await {
                Ok(outcome) => break Some(outcome),
                // The process dies here, or asks again.
                Err(err) if err.kind() == Kind::Retry && dice.roll(2) == 0 => break None,
                Err(err) if err.kind() == Kind::Retry => batch.deadline = Duration::from_secs(20),
                Err(err) => panic!("seed {seed}: {err}"),
            }
        };
        position = match outcome {
            Some(outcome) => told(&outcome).1.clone(),
            None => sink.position(&source()).await.unwrap(),
        };
    }
}

/// Each seed is another schedule of lost, repeated and late requests for three writers that share
/// their partitions. Whatever happens, each partition's files cover it once, without a hole.
#[tokio::test]
async fn no_schedule_loses_or_repeats_a_record() {
    let (mut late_applied, mut late_refused, mut rows) = (0, 0, 0);
    for seed in 0..SEEDS {
        let world = World::new();
        let starts = offsets([(0, 0), (1, 7), (2, 100)]);
        world.sink().await.pin(&source(), &starts).await.unwrap();
        let mut dice = Dice::new(seed);
        let mut catalogs = Vec::new();
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let script: Vec<_> = (0..4 * ROUNDS).map(|_| dice.fault()).collect();
            let catalog = FaultyCatalog::new(world.catalog(), script);
            catalogs.push(Arc::clone(&catalog));
            writers.push(write(world.clone(), catalog, seed * WRITERS + writer));
        }
        futures::future::join_all(writers).await;
        for catalog in catalogs {
            catalog.settle().await;
            let (applied, refused) = catalog.late();
            late_applied += applied;
            late_refused += refused;
        }
        rows += world.check().await;
    }
    assert!(late_applied > 100, "too few late requests landed: {late_applied}");
    assert!(late_refused > 100, "too few late requests were fenced: {late_refused}");
    assert!(rows > SEEDS * 100, "too little was written: {rows}");
}
