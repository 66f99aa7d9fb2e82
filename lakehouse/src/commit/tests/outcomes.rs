//! What a commit answers, whatever the catalog does.

use std::time::Duration;

use super::world::{World, file, offsets, request, source, told};
use crate::Kind;
use crate::catalog::faulty::{Fault, FaultyCatalog};
use crate::ids::{Offset, PartitionId};
use crate::position::{ClusterId, Source, TopicId};

#[tokio::test]
async fn rows_and_position_become_visible_together() {
    let world = World::new();
    let sink = world.sink().await;
    assert!(sink.position(&source()).await.unwrap().offsets().is_empty());
    let pinned = sink.pin(&source(), &offsets([(0, 5), (1, 0)])).await.unwrap();
    assert_eq!(format!("{pinned:?}"), "{0: 5, 1: 0}");
    let outcome = sink.commit(&request(&[(0, 5, 15), (1, 0, 7)])).await.unwrap();
    assert_eq!(told(&outcome).0, "committed");
    assert_eq!(format!("{:?}", told(&outcome).1), "{0: 15, 1: 7}");
    let again = world.sink().await.position(&source()).await.unwrap();
    assert_eq!(&again, told(&outcome).1);
    assert_eq!(world.check().await, 17);
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_dropped_and_the_position_told() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    sink.commit(&request(&[(0, 0, 10)])).await.unwrap();
    for (batch, expected) in [
        (request(&[(0, 0, 10)]), "fenced"),
        (request(&[(0, 5, 20)]), "fenced"),
        (request(&[(0, 11, 20)]), "gap"),
        (request(&[(3, 0, 1)]), "gap"),
    ] {
        let outcome = sink.commit(&batch).await.unwrap();
        assert_eq!(told(&outcome).0, expected, "{:?}", batch.ranges);
        assert_eq!(format!("{:?}", told(&outcome).1), "{0: 10}");
    }
    assert_eq!(world.check().await, 10);
}

#[tokio::test]
async fn every_ambiguous_answer_ends_in_exactly_one_append() {
    for fault in Fault::ALL {
        let world = World::new();
        let plain = world.sink().await;
        plain.pin(&source(), &offsets([(0, 0)])).await.unwrap();
        let catalog = FaultyCatalog::new(world.catalog(), [fault]);
        let sink = world.sink_on(catalog.clone()).await;
        let batch = request(&[(0, 0, 10)]);
        let done = sink.commit(&batch).await;
        catalog.settle().await;
        match fault {
            Fault::Malformed => assert_eq!(done.unwrap_err().kind(), Kind::Config),
            Fault::LostAnswer | Fault::Replayed | Fault::LateBeforeNext => {
                assert_eq!(told(&done.unwrap()).0, "already", "{fault:?}");
            }
            Fault::None | Fault::LostRequest | Fault::LateAfterNext => {
                assert_eq!(told(&done.unwrap()).0, "committed", "{fault:?}");
            }
        }
        let expected = if fault == Fault::Malformed { 0 } else { 10 };
        assert_eq!(world.check().await, expected, "{fault:?}");
        match fault {
            Fault::LateBeforeNext => assert_eq!(catalog.late(), (1, 0)),
            Fault::LateAfterNext => assert_eq!(catalog.late(), (0, 1), "the fence held"),
            _ => {}
        }
        // In another process, after the answer was lost for good.
        let repeated = world.sink().await.commit(&batch).await.unwrap();
        let expected = if fault == Fault::Malformed { "committed" } else { "already" };
        assert_eq!(told(&repeated).0, expected, "{fault:?}");
        assert_eq!(world.check().await, 10, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_a_moved_base_is_not_final() {
    let world = World::new();
    let catalog = FaultyCatalog::new(world.catalog(), []);
    let sink = world.sink_on(catalog).await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    // The table moves between the read and the publish without main moving: sequence numbers clash,
    // which servers call a bad request.
    let catalog = FaultyCatalog::new(world.catalog(), [Fault::Malformed, Fault::None]);
    let sink = world.sink_on(catalog).await;
    let batch = request(&[(0, 0, 10)]);
    let (done, ()) = tokio::join!(sink.commit(&batch), async {
        world.change(|builder| builder.set_properties([("a".into(), "b".into())].into())).await;
    });
    assert_eq!(told(&done.unwrap()).0, "committed");
    assert_eq!(world.check().await, 10);
}

#[tokio::test]
async fn a_catalog_that_stays_away_leaves_the_outcome_open() {
    let world = World::new();
    world.sink().await.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let catalog = FaultyCatalog::new(world.catalog(), vec![Fault::LostRequest; 1_000_000]);
    let sink = world.sink_on(catalog.clone()).await;
    let mut batch = request(&[(0, 0, 10)]);
    batch.deadline = Duration::from_millis(500);
    let err = sink.commit(&batch).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Retry);
    assert!(catalog.publishes() > 3);
    assert_eq!(world.check().await, 0);
    batch.deadline = Duration::from_secs(10);
    assert_eq!(told(&world.sink().await.commit(&batch).await.unwrap()).0, "committed");
}

#[tokio::test]
async fn of_eight_that_hold_one_base_one_wins() {
    let world = World::new();
    world.sink().await.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let mut racers = Vec::new();
    for _ in 0..8 {
        let sink = world.sink().await;
        racers.push(async move { sink.commit(&request(&[(0, 0, 10)])).await.unwrap() });
    }
    let outcomes = futures::future::join_all(racers).await;
    let of = |word| outcomes.iter().filter(|outcome| told(outcome).0 == word).count();
    assert_eq!((of("committed"), of("fenced")), (1, 7));
    assert_eq!(world.check().await, 10);
}

#[tokio::test]
async fn eight_writers_of_their_own_partitions_all_get_through() {
    let world = World::new();
    let starts = offsets([0, 1, 2, 3, 4, 5, 6, 7].map(|partition| (partition, 0)));
    world.sink().await.pin(&source(), &starts).await.unwrap();
    let mut writers = Vec::new();
    for partition in 0..8 {
        let sink = world.sink().await;
        writers.push(async move {
            for round in 0..10 {
                let batch = request(&[(partition, round * 10, round * 10 + 10)]);
                assert_eq!(told(&sink.commit(&batch).await.unwrap()).0, "committed");
            }
        });
    }
    futures::future::join_all(writers).await;
    assert_eq!(world.check().await, 800);
}

#[tokio::test]
async fn tasks_of_one_sink_do_not_take_each_other_for_a_rollback() {
    let world = World::new();
    let sink = world.sink_on(FaultyCatalog::new(world.catalog(), [])).await;
    sink.pin(&source(), &offsets([(0, 0), (1, 0), (2, 0)])).await.unwrap();
    let write = |partition| {
        let sink = sink.clone();
        async move {
            for round in 0..20 {
                let batch = request(&[(partition, round, round + 1)]);
                assert_eq!(told(&sink.commit(&batch).await.unwrap()).0, "committed");
            }
        }
    };
    tokio::join!(write(0), write(1), write(2));
    assert_eq!(world.check().await, 60);
}

#[tokio::test]
async fn two_that_pin_at_once_agree() {
    let world = World::new();
    let (one, two) = (world.sink().await, world.sink().await);
    let (low, high) = (offsets([(0, 3), (1, 3)]), offsets([(1, 9), (2, 9)]));
    let source = source();
    let (first, second) = tokio::join!(one.pin(&source, &low), two.pin(&source, &high));
    let now = one.position(&source).await.unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    let shared = PartitionId::new(1);
    assert_eq!(first.get(shared), second.get(shared));
    assert_eq!(now.get(shared), first.get(shared));
    assert_eq!(now.get(PartitionId::new(0)), Some(Offset::new(3)));
    assert_eq!(now.get(PartitionId::new(2)), Some(Offset::new(9)));
    let snapshots = world.metadata().snapshots().count();
    one.pin(&source, &low).await.unwrap();
    assert_eq!(world.metadata().snapshots().count(), snapshots, "a pin that adds nothing is free");
}

#[tokio::test]
async fn a_heartbeat_is_a_snapshot_without_files() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let before = world.metadata().snapshots().count();
    assert_eq!(told(&sink.commit(&request(&[])).await.unwrap()).0, "committed");
    assert_eq!(told(&sink.commit(&request(&[(0, 0, 0)])).await.unwrap()).0, "committed");
    assert_eq!(world.metadata().snapshots().count(), before + 2);
    assert_eq!(world.check().await, 0);
}

#[tokio::test]
async fn books_that_do_not_balance_are_refused() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let mut unbalanced = request(&[(0, 0, 10)]);
    unbalanced.counts.filtered += 1;
    let mut miscounted = request(&[(0, 0, 10)]);
    miscounted.files.push(file("ours/0/10/11/x".into(), 1));
    let mut nowhere = request(&[(0, 0, 10)]);
    nowhere.ranges = request(&[]).ranges;
    for batch in [unbalanced, miscounted, nowhere] {
        assert_eq!(sink.commit(&batch).await.unwrap_err().kind(), Kind::Bug);
    }
    assert_eq!(world.check().await, 0);
}

#[tokio::test]
async fn another_source_is_refused() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let recreated = Source { topic: TopicId::new("topic-2"), ..source() };
    let elsewhere = Source { cluster: ClusterId::new("cluster-2"), ..source() };
    for (other, said) in [(recreated, "topic"), (elsewhere, "cluster")] {
        let err = sink.position(&other).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Refused);
        assert!(err.to_string().contains(said), "{err}");
        let mut batch = request(&[(0, 0, 10)]);
        batch.source = other;
        assert_eq!(sink.commit(&batch).await.unwrap_err().kind(), Kind::Refused);
    }
    assert_eq!(world.check().await, 0);
}
