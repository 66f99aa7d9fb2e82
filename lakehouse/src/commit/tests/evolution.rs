//! Which tables can become what a job wants.

use super::super::SinkTable;
use super::world::{World, column, offsets, request, source, told};
use crate::spec::ColumnType::{self, Decimal, Double, Float, Int, Long, Timestamptz};
use crate::spec::{Column, TableSpec};
use crate::{Kind, Result};

fn spec(columns: Vec<Column>, partition_day: Option<&str>) -> TableSpec {
    TableSpec {
        namespace: "ns".into(),
        name: "rows".into(),
        columns,
        partition_day: partition_day.map(Into::into),
    }
}

async fn evolve(old: &TableSpec, new: &TableSpec) -> (World, Result<SinkTable>) {
    let world = World::new();
    let lakehouse = world.lakehouse();
    lakehouse.ensure(old).await.unwrap();
    let evolved = lakehouse.ensure(new).await;
    (world, evolved)
}

fn columns(of: &[(&str, ColumnType, bool)]) -> Vec<Column> {
    of.iter().map(|(name, column_type, nullable)| column(name, *column_type, *nullable)).collect()
}

type Columns<'a> = &'a [(&'a str, ColumnType, bool)];

async fn check(name: &str, old: Columns<'_>, new: Columns<'_>, expected: &str) {
    let (world, evolved) = evolve(&spec(columns(old), None), &spec(columns(new), None)).await;
    evolved.unwrap_or_else(|err| panic!("{name}: {err}"));
    let schema = world.metadata().current_schema().clone();
    let shown: Vec<_> = schema
        .as_struct()
        .fields()
        .iter()
        .map(|f| {
            format!("{}:{}:{}{}", f.id, f.name, f.field_type, if f.required { "!" } else { "" })
        })
        .collect();
    assert_eq!(shown.join(" "), expected, "{name}");
}

async fn check_refused(name: &str, old: Columns<'_>, new: Columns<'_>, said: &str) {
    let (world, evolved) = evolve(&spec(columns(old), None), &spec(columns(new), None)).await;
    let Err(err) = evolved else { panic!("{name}: accepted") };
    assert_eq!(err.kind(), Kind::Refused, "{name}");
    assert!(err.to_string().contains(said), "{name}: {err}");
    assert_eq!(world.metadata().schemas_iter().count(), 1, "{name}: nothing was changed");
}

#[tokio::test]
async fn compatible_changes_are_made() {
    let dec = |precision| Decimal { precision, scale: 2 };
    check("nothing", &[("a", Int, false)], &[("a", Int, false)], "1:a:int!").await;
    check(
        "a nullable column is added",
        &[("a", Int, false)],
        &[("b", ColumnType::String, true), ("a", Int, false)],
        "1:a:int! 2:b:string",
    )
    .await;
    check("int becomes long", &[("a", Int, false)], &[("a", Long, false)], "1:a:long!").await;
    check("float becomes double", &[("a", Float, true)], &[("a", Double, true)], "1:a:double")
        .await;
    check("decimal widens", &[("a", dec(9), true)], &[("a", dec(12), true)], "1:a:decimal(12, 2)")
        .await;
    check("required becomes optional", &[("a", Int, false)], &[("a", Int, true)], "1:a:int").await;
    check("optional stays so", &[("a", Int, true)], &[("a", Int, false)], "1:a:int").await;
    check(
        "another order is the same table",
        &[("a", Int, true), ("b", Long, true)],
        &[("b", Long, true), ("a", Int, true)],
        "1:a:int 2:b:long",
    )
    .await;
}

#[tokio::test]
async fn everything_else_is_refused_with_the_difference() {
    let dec = |precision, scale| Decimal { precision, scale };
    let refused = check_refused;
    refused(
        "new and required",
        &[("a", Int, true)],
        &[("a", Int, true), ("b", Int, false)],
        "`b` is new and not nullable",
    )
    .await;
    refused(
        "gone",
        &[("a", Int, true), ("b", Int, true)],
        &[("a", Int, true)],
        "`b` is in the table, but not in the job",
    )
    .await;
    refused("renamed", &[("a", Int, true)], &[("c", Int, true)], "`a` is in the table").await;
    refused(
        "narrower",
        &[("a", Long, true)],
        &[("a", Int, true)],
        "`a` is long in the table, int in the job",
    )
    .await;
    refused(
        "another type",
        &[("a", Int, true)],
        &[("a", ColumnType::String, true)],
        "int in the table, string",
    )
    .await;
    refused(
        "less precise",
        &[("a", dec(12, 2), true)],
        &[("a", dec(9, 2), true)],
        "decimal(12, 2)",
    )
    .await;
    refused(
        "another scale",
        &[("a", dec(12, 2), true)],
        &[("a", dec(14, 3), true)],
        "decimal(14, 3)",
    )
    .await;
    refused(
        "all differences at once",
        &[("a", Int, true), ("b", Int, true)],
        &[("a", Float, true)],
        "`b` is in the table, but not in the job any more; column `a` is int",
    )
    .await;
}

#[tokio::test]
async fn another_partition_is_refused() {
    let of = columns(&[("a", Timestamptz, true), ("b", Timestamptz, true)]);
    for (old, new) in [(Some("a"), None), (None, Some("a")), (Some("a"), Some("b"))] {
        let (_, evolved) = evolve(&spec(of.clone(), old), &spec(of.clone(), new)).await;
        let Err(err) = evolved else { panic!("{old:?} is not {new:?}") };
        assert!(err.to_string().contains("partitioned by"), "{err}");
    }
    let (_, same) = evolve(&spec(of.clone(), Some("a")), &spec(of, Some("a"))).await;
    same.unwrap();
}

#[tokio::test]
async fn a_column_that_someone_else_added_is_left_to_them() {
    let world = World::new();
    world.sink().await;
    let fields = world.metadata().current_schema().as_struct().fields().to_vec();
    let theirs = iceberg::spec::NestedField::optional(
        3,
        "theirs",
        iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::Uuid),
    );
    let fields: Vec<_> = fields.into_iter().chain([theirs.into()]).collect();
    let schema = iceberg::spec::Schema::builder().with_fields(fields).build().unwrap();
    world.change(|builder| builder.add_current_schema(schema)).await;
    let sink = world.sink().await;
    let written: Vec<_> = sink.schema().columns().iter().map(|c| c.name.clone()).collect();
    assert_eq!(written, ["id", "at"]);
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    assert_eq!(told(&sink.commit(&request(&[(0, 0, 3)])).await.unwrap()).0, "committed");
}

#[tokio::test]
async fn a_column_that_was_renamed_under_a_running_job_is_refused() {
    let world = World::new();
    let sink = world.sink().await;
    sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    let fields = world.metadata().current_schema().as_struct().fields().to_vec();
    let renamed = fields.into_iter().map(|field| match field.name.as_str() {
        "id" => iceberg::spec::NestedField { name: "key".to_owned(), ..(*field).clone() }.into(),
        _ => field,
    });
    let schema = iceberg::spec::Schema::builder().with_fields(renamed.collect::<Vec<_>>());
    world.change(|builder| builder.add_current_schema(schema.build().unwrap())).await;
    let Err(err) = sink.commit(&request(&[(0, 0, 3)])).await else { panic!("it is committed") };
    assert_eq!(err.kind(), Kind::Refused);
    assert!(err.to_string().contains("`id` is called `key` now"), "{err}");
}

#[tokio::test]
async fn an_older_writer_goes_on_beside_a_newer_one() {
    let mut world = World::new();
    let old = world.sink().await;
    old.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    world.spec.columns.push(column("more", Long, true));
    let new = world.sink().await;
    assert_eq!(told(&old.commit(&request(&[(0, 0, 3)])).await.unwrap()).0, "committed");
    assert_eq!(told(&new.commit(&request(&[(0, 3, 5)])).await.unwrap()).0, "committed");
    assert_eq!(told(&old.commit(&request(&[(0, 5, 9)])).await.unwrap()).0, "committed");
    assert_eq!(world.check().await, 9);
    assert_eq!(new.schema().columns().len(), 3);
}

#[tokio::test]
async fn eight_that_make_one_table_at_once_share_it() {
    let world = World::new();
    let sinks = futures::future::join_all((0..8).map(|_| world.sink())).await;
    for sink in &sinks {
        sink.pin(&source(), &offsets([(0, 0)])).await.unwrap();
    }
    assert_eq!(world.metadata().snapshots().count(), 1);
}

#[tokio::test]
async fn names_that_would_leave_the_warehouse_are_refused() {
    let world = World::new();
    for name in ["", "..", "a/b", ".hidden", "a\\b"] {
        let spec = TableSpec { name: name.into(), ..world.spec.clone() };
        let Err(err) = world.lakehouse().ensure(&spec).await else { panic!("{name} is accepted") };
        assert_eq!(err.kind(), Kind::Config, "{name}");
    }
}
