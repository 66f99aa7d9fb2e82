//! The whole table of outcomes, step by step.
//!
//! Decides every record that `fast` did not take. The steps run in the order of
//! docs/decode-outcomes.md, so that a record with several faults has one reason, whoever reads it.

use std::borrow::Cow;

use super::Reason;
use super::json::{self, Fault, unescape};
use super::layout::{Cell, Layout, Scratch};
use super::scan::skip_whitespace;
use crate::job;

/// A reason, and where and what in a few words.
pub(super) type Refusal = (Reason, String);

/// Reads a record into `cells`, one for each field.
pub(super) fn read(
    layout: &Layout,
    payload: &[u8],
    cells: &mut [Cell],
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    let text = utf8(payload)?;
    let members = members(text)?;
    let values = declared(layout, text, &members)?;
    for ((field, value), cell) in layout.fields.iter().zip(values).zip(cells) {
        let name = &field.name;
        *cell = Cell::Null;
        if let Some(at) = value {
            layout.cell(field, text, at, cell, scratch).map_err(|reason| {
                let wanted = job::type_name(field.column_type);
                (reason, format!("field `{name}`: {wanted} from {}", kind(text, at)))
            })?;
        }
        if *cell == Cell::Null && !field.nullable {
            let what = if value.is_some() { "is null" } else { "is absent" };
            return Err((Reason::MissingField, format!("field `{name}` {what}")));
        }
    }
    Ok(())
}

fn utf8(payload: &[u8]) -> Result<&str, Refusal> {
    if payload.is_empty() {
        return Err((Reason::Empty, String::new()));
    }
    simdutf8::compat::from_utf8(payload)
        .map_err(|err| (Reason::InvalidUtf8, format!("byte {}", err.valid_up_to())))
}

/// Where a member's key and value begin.
struct Member {
    key: usize,
    value: usize,
}

/// Checks the grammar of the whole text; returns the members of the object it is.
fn members(text: &str) -> Result<Vec<Member>, Refusal> {
    let bytes = text.as_bytes();
    let fault = |fault| match fault {
        Fault::Syntax { at } if at >= bytes.len() => {
            (Reason::InvalidJson, format!("ends too early, after {} bytes", bytes.len()))
        }
        Fault::Syntax { at } => (Reason::InvalidJson, format!("byte {at}")),
        Fault::TooDeep { at } => {
            (Reason::NestingTooDeep, format!("byte {at}: more than {} levels", json::DEPTH_MAX))
        }
    };
    let start = skip_whitespace(bytes, 0);
    let end = skip_whitespace(bytes, json::value(bytes, start, 0).map_err(fault)?);
    if end != bytes.len() {
        return Err((Reason::InvalidJson, format!("byte {end}: something follows the value")));
    }
    if bytes.get(start) != Some(&b'{') {
        return Err((Reason::NotAnObject, kind(text, start).to_owned()));
    }
    split(bytes, start).map_err(fault)
}

/// The members of an object whose grammar is right.
fn split(bytes: &[u8], start: usize) -> Result<Vec<Member>, Fault> {
    let mut members = Vec::new();
    let mut at = skip_whitespace(bytes, start + 1);
    while bytes.get(at) == Some(&b'"') {
        let colon = skip_whitespace(bytes, json::string(bytes, at)?.end);
        let value = skip_whitespace(bytes, colon + 1);
        members.push(Member { key: at, value });
        let comma = skip_whitespace(bytes, json::value(bytes, value, 1)?);
        at = skip_whitespace(bytes, comma + 1);
    }
    Ok(members)
}

/// Where each declared field's value begins, if the object has it.
fn declared(
    layout: &Layout,
    text: &str,
    members: &[Member],
) -> Result<Vec<Option<usize>>, Refusal> {
    let mut values = vec![None; layout.fields.len()];
    let mut twice = None;
    for member in members {
        let key = key(text, member.key)?;
        let Some(index) = layout.find(&key) else { continue };
        let Some(value) = values.get_mut(index) else { continue };
        if value.replace(member.value).is_some() && twice.is_none() {
            twice = Some(key);
        }
    }
    match twice {
        Some(key) => Err((Reason::DuplicateKey, format!("field `{key}` twice"))),
        None => Ok(values),
    }
}

fn key(text: &str, at: usize) -> Result<Cow<'_, str>, Refusal> {
    let broken = |_| (Reason::InvalidJson, format!("byte {at}"));
    let string = json::string(text.as_bytes(), at).map_err(broken)?;
    let raw = text.get(at + 1..string.end - 1).unwrap_or_default();
    if !string.escaped {
        return Ok(raw.into());
    }
    let mut key = String::new();
    match unescape(raw, &mut key) {
        Some(()) => Ok(key.into()),
        None => {
            Err((Reason::InvalidUtf8, format!("byte {at}: a key escapes half a surrogate pair")))
        }
    }
}

/// What stands at `at`, in words.
fn kind(text: &str, at: usize) -> &'static str {
    match text.as_bytes().get(at) {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
