//! An Avro file's frame, read by hand: header, blocks, counts.
//!
//! A third reader beside the writer and arrow-avro, from the specification alone, that decodes no row. It must never
//! trust a length: each is checked against what is left of the file.
//!
//! Avro 1.11 specification, "Object Container Files".

use serde_json::Value;

/// What the frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The record schema.
    pub(super) schema: String,
    /// How blocks are compressed.
    pub(super) codec: String,
    /// Rows, by the blocks' own counts.
    pub(super) rows: u64,
}

/// Reads the frame of a whole file.
pub(super) fn frame(bytes: &[u8]) -> Result<Frame, String> {
    let mut rest = bytes.strip_prefix(b"Obj\x01").ok_or("it does not begin as an Avro file")?;
    let (mut schema, mut codec) = (None, "null".to_owned());
    loop {
        let count = long(&mut rest)?;
        if count == 0 {
            break;
        }
        if count < 0 {
            // The block's length in bytes, for those who skip it.
            long(&mut rest)?;
        }
        for _ in 0..count.unsigned_abs() {
            let key = text(&mut rest)?;
            let value = text(&mut rest)?;
            match key.as_str() {
                "avro.schema" => schema = Some(value),
                "avro.codec" => codec = value,
                _ => {}
            }
        }
    }
    let sync = take(&mut rest, 16)?;
    let mut rows = 0_u64;
    while !rest.is_empty() {
        let count = u64::try_from(long(&mut rest)?).map_err(|_| "a block's count is negative")?;
        let length = long(&mut rest)?;
        take(&mut rest, length)?;
        if take(&mut rest, 16)? != sync {
            return Err(format!(
                "the block that ends {} bytes before the end is broken",
                rest.len()
            ));
        }
        rows = rows.saturating_add(count);
    }
    Ok(Frame { schema: schema.ok_or("its header has no schema")?, codec, rows })
}

/// Whether every field of the record has its Iceberg id, each once.
pub(super) fn has_ids(schema: &str) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).map_err(|err| format!("its schema: {err}"))?;
    let fields = schema.get("fields").and_then(Value::as_array).ok_or("its schema is no record")?;
    let mut seen = Vec::new();
    for field in fields {
        match field.get("field-id").and_then(Value::as_i64) {
            Some(id) if !seen.contains(&id) => seen.push(id),
            Some(id) => return Err(format!("field id {id} twice")),
            None => return Err(format!("field {} has no id", field.get("name").unwrap_or(field))),
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: i64) -> Result<&'a [u8], String> {
    let cut = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (taken, left) = cut.ok_or_else(|| format!("{length} bytes of {} left", rest.len()))?;
    *rest = left;
    Ok(taken)
}

fn text(rest: &mut &[u8]) -> Result<String, String> {
    let length = long(rest)?;
    String::from_utf8(take(rest, length)?.to_vec()).map_err(|_| "its header is no text".to_owned())
}

/// A zigzag number of seven bits a byte.
fn long(rest: &mut &[u8]) -> Result<i64, String> {
    let mut bits = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest, 1)? else { unreachable!("one byte was asked for") };
        bits |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
        }
    }
    Err("a number has no end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of two blocks, of three rows and one.
    fn file() -> Vec<u8> {
        let mut file = b"Obj\x01\x04\x16avro.schema\x04{}\x14avro.codec\x08null\x00".to_vec();
        let sync = [7_u8; 16];
        file.extend(sync);
        for (count, data) in [(3_u8, "abcd"), (1, "e")] {
            file.extend([count * 2, u8::try_from(data.len() * 2).unwrap()]);
            file.extend(data.as_bytes());
            file.extend(sync);
        }
        file
    }

    #[test]
    fn rows_are_counted_over_blocks() {
        let expected = Frame { schema: "{}".into(), codec: "null".into(), rows: 4 };
        assert_eq!(frame(&file()), Ok(expected));
    }

    #[test]
    fn a_cut_or_damaged_frame_is_told() {
        let file = file();
        let whole = file.len();
        let ends = [whole, whole - 19, whole - 19 - 22];
        for end in 0..=whole {
            assert_eq!(frame(&file[..end]).is_ok(), ends.contains(&end), "cut at {end}");
        }
        let mut damaged = file.clone();
        damaged[whole - 1] = 8;
        assert!(frame(&damaged).unwrap_err().contains("broken"));
    }

    #[test]
    fn every_field_needs_an_id_of_its_own() {
        let check = |fields: &str| has_ids(&format!(r#"{{"fields":[{fields}]}}"#));
        assert_eq!(check(r#"{"name":"a","field-id":1},{"name":"b","field-id":2}"#), Ok(()));
        assert!(check(r#"{"name":"a","field-id":1},{"name":"b"}"#).unwrap_err().contains("\"b\""));
        assert!(check(r#"{"field-id":1},{"field-id":1}"#).unwrap_err().contains("twice"));
        assert!(has_ids("\"bytes\"").is_err());
    }
}
