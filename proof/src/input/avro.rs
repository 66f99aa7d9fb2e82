//! The Avro writer: random tables of every type, random batches, every codec, read back by a reader of another hand.
//!
//! The input is a seed; everything follows from it. The oracle holds plain values; neither Arrow nor our own reader takes
//! part in the comparison. What a manifest would say of the file is held to the same values.

mod bounds;
mod table;

use std::sync::Arc;

use anyhow::Result;
use apache_avro::types::Value;
use lakehouse::avro::{Codec, DayWriter, FileWriter, TableSchema};
use lakehouse::datafile::EncodedFile;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Target;
use super::corpus::Corpus;
use super::mutate;
use table::{Cell, Row, Table};

pub(super) struct Writer;

impl Target for Writer {
    fn name(&self) -> &'static str {
        "avro"
    }

    fn title(&self) -> &'static str {
        "the Avro writer and its bounds, against another reader"
    }

    fn wanted(&self) -> &[&'static str] {
        &["null", "deflate", "zstandard", "no rows", "refused"]
    }

    fn make(&mut self, dice: &mut StdRng, _: &Corpus) -> Vec<u8> {
        dice.random::<u64>().to_string().into_bytes()
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        let text = String::from_utf8_lossy(input);
        let seed = text.trim().parse().map_err(|_| format!("{text} is no seed"))?;
        let mut dice = StdRng::seed_from_u64(seed);
        let table = Table::any(&mut dice);
        let codec = *mutate::one_of(&mut dice, &Codec::ALL);
        let schema = match TableSchema::from_spec(&table.spec) {
            Ok(schema) => Arc::new(schema),
            Err(_) if table.must_be_refused() => return Ok("refused"),
            Err(err) => return Err(format!("{:?} was refused: {err}", table.spec)),
        };
        if table.must_be_refused() {
            return Err(format!("{:?} was not refused", table.spec));
        }
        let rows = table.rows(&mut dice);
        let cut = dice.random_range(0..=rows.len());
        let (first, second) = rows.split_at(cut);
        let mut written = 0;
        for file in files(&table, &schema, codec, [first, second])? {
            written += file.rows;
            let expected: Vec<&Row> =
                rows.iter().filter(|row| table.is_of(row, file.day)).collect();
            compare(&table, &file, &expected)?;
            bounds::check(&table, &schema, &file, &expected)?;
        }
        if written != rows.len() as u64 {
            return Err(format!("{written} rows of {} were written", rows.len()));
        }
        Ok(if rows.is_empty() { "no rows" } else { codec.avro_name() })
    }
}

/// Writes both batches: a file for each day, or one where the table has no days.
fn files(
    table: &Table,
    schema: &Arc<TableSchema>,
    codec: Codec,
    batches: [&[Row]; 2],
) -> Result<Vec<EncodedFile>, String> {
    let told = |err: lakehouse::Error| err.to_string();
    if table.spec.partition_day.is_none() {
        let mut writer = FileWriter::new(Arc::clone(schema), codec, None).map_err(told)?;
        for batch in batches {
            writer.append(&table.batch(batch)?).map_err(told)?;
        }
        return Ok(vec![writer.finish().map_err(told)?]);
    }
    let mut writer = DayWriter::new(Arc::clone(schema), codec).map_err(told)?;
    for batch in batches {
        writer.append(&table.batch(batch)?).map_err(told)?;
    }
    writer.finish().map_err(told)
}

/// The rows of the file are the expected ones, in whatever order days have left them.
fn compare(table: &Table, file: &EncodedFile, expected: &[&Row]) -> Result<(), String> {
    let bytes = file.bytes();
    let reader = apache_avro::Reader::new(bytes.as_ref()).map_err(|err| format!("{err}"))?;
    let mut found = Vec::new();
    for value in reader {
        let Value::Record(fields) = value.map_err(|err| format!("{err}"))? else {
            return Err("a row is no record".to_owned());
        };
        let cells = fields.into_iter().map(|(_, value)| cell(value)).collect::<Result<Row, _>>()?;
        found.push(cells);
    }
    if found.len() != expected.len() {
        return Err(format!("{} rows are read, {} were written", found.len(), expected.len()));
    }
    for (found, expected) in found.iter().zip(expected) {
        let pairs = found.iter().zip(expected.iter());
        let different = pairs
            .zip(&table.spec.columns)
            .find(|((found, wanted), _)| !Cell::is_same(found.as_ref(), wanted.as_ref()));
        if let Some(((found, wanted), column)) = different {
            return Err(format!("{column:?} is read as {found:?}, and was {wanted:?}"));
        }
    }
    Ok(())
}

fn cell(value: Value) -> Result<Option<Cell>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Union(_, value) => return cell(*value),
        Value::Boolean(value) => Cell::Boolean(value),
        Value::Int(value) | Value::Date(value) => Cell::Whole(value.into()),
        Value::Long(value) | Value::TimestampMicros(value) => Cell::Whole(value.into()),
        Value::Float(value) => Cell::Float(value),
        Value::Double(value) => Cell::Double(value),
        Value::Decimal(value) => {
            let bytes = Vec::try_from(&value).map_err(|err| format!("{err}"))?;
            Cell::Whole(unscaled(&bytes)?)
        }
        Value::Fixed(_, bytes) => Cell::Whole(unscaled(&bytes)?),
        Value::String(value) => Cell::Text(value),
        Value::Bytes(value) => Cell::Bytes(value),
        other => return Err(format!("{other:?} is read")),
    }))
}

/// Two's complement, the most significant byte first.
fn unscaled(bytes: &[u8]) -> Result<i128, String> {
    let sign = bytes.first().map_or(0, |first| if first & 0x80 == 0 { 0 } else { u8::MAX });
    let mut wide = [sign; 16];
    let start = 16_usize.checked_sub(bytes.len()).ok_or("a number of more than 16 bytes")?;
    wide.get_mut(start..).ok_or("no room")?.copy_from_slice(bytes);
    Ok(i128::from_be_bytes(wide))
}
