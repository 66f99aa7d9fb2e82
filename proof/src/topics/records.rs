//! What a record can be: compressed, huge, empty, wide, broken.

use anyhow::Result;

use crate::stack::{
    Broken, Codec, Found, Sent, Stage, must, purchase, purchase_of_bytes, purchase_of_fields,
};

/// As much as a producer may send to the rig's broker, with room for its key and headers.
const HUGE_BYTES: usize = 10_000_000;
const MANY_FIELDS: usize = 100_000;

pub(super) fn codecs(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("codecs", 3)?;
    let mut processor = scene.start(&scene.spawn())?;
    let mut number = 0;
    for codec in Codec::ALL {
        let records: Vec<_> = (0..2_000)
            .map(|place| {
                number += 1;
                Sent::to(place % 3, purchase(number))
            })
            .collect();
        scene.send(codec, records)?;
    }
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let names = Codec::ALL.map(Codec::name).join(", ");
    Ok(Found::new(Codec::ALL.len() as u64, names).judged(scene.judge()?))
}

pub(super) fn huge(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene_of("huge", 2, &[("max.message.bytes", "12000000")])?;
    let mut records = Vec::new();
    for number in 0..12 {
        let partition = i32::try_from(number % 2)?;
        records.push(Sent::to(partition, purchase(number)));
        records.push(Sent::to(
            partition,
            match number % 3 {
                2 => {
                    let mut cut = purchase_of_bytes(1_000 + number, HUGE_BYTES);
                    cut.pop();
                    cut
                }
                _ => purchase_of_bytes(1_000 + number, HUGE_BYTES),
            },
        ));
    }
    let (plain, packed) = records.split_at(12);
    scene.send(Codec::None, plain.iter().cloned())?;
    scene.send(Codec::Zstd, packed.iter().cloned())?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    let highest = processor.memory_highest()?;
    processor.stop()?;
    let detail = format!("4 of 12 broken; the processor's RSS rose to {} MiB", highest >> 20);
    Ok(Found::new(12, detail).judged(scene.judge()?))
}

pub(super) fn fields(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene_of("fields", 1, &[("max.message.bytes", "12000000")])?;
    let records = (0..10).map(|number| match number % 2 {
        0 => Sent::to(0, purchase(number)),
        _ => Sent::to(0, purchase_of_fields(number, MANY_FIELDS)),
    });
    scene.send(Codec::None, records)?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    Ok(Found::new(5, String::new()).judged(scene.judge()?))
}

pub(super) fn tombstones(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("tombstones", 2)?;
    let mut records = Vec::new();
    for number in 0..200_u64 {
        let partition = i32::try_from(number % 2)?;
        let key = (number % 4 < 2).then(|| format!("key-{number}").into_bytes());
        let payload = (number % 3 != 0).then(|| purchase(number));
        records.push(Sent { partition, key, payload });
    }
    let empty = records.iter().filter(|sent| sent.payload.is_none() || sent.key.is_none()).count();
    scene.send(Codec::Lz4, records)?;
    let mut processor = scene.start(&scene.spawn())?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let verdict = scene.judge()?;
    must(verdict.rejected == 67, || format!("67 tombstones were sent: {verdict}"))?;
    Ok(Found::new(empty as u64, String::new()).judged(verdict))
}

/// Only broken records, of every kind, between sound ones.
pub(super) fn poison(stage: &Stage) -> Result<Found> {
    let mut scene = stage.scene("poison", 2)?;
    let poison = stage.args.suite.size.of(20_000_u64, 500_000);
    let mut processor = scene.start(&scene.spawn())?;
    scene.send(Codec::None, (0..100).map(|number| Sent::to(0, purchase(number))))?;
    let kinds = Broken::ALL.iter().cycle();
    let broken = kinds.zip(0..poison).map(|(kind, number)| {
        // Both partitions hold nothing else for a while.
        Sent::to(i32::from(number % 2 == 1), kind.record(number))
    });
    scene.send(Codec::None, broken)?;
    scene.send(Codec::None, (0..100).map(|number| Sent::to(1, purchase(10_000_000 + number))))?;
    scene.settle(&mut [&mut processor])?;
    processor.stop()?;
    let verdict = scene.judge()?;
    must(verdict.rejected == poison, || format!("{poison} broken records were sent: {verdict}"))?;
    Ok(Found::new(poison, "seven kinds").judged(verdict))
}
