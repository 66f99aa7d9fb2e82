//! One pass over a record that is as expected.
//!
//! Reads what the declaration describes and says nothing about the rest: whatever is irregular, be it
//! broken or only unusual, is left to `careful`, which knows every reason. So this module must never
//! accept what `careful` rejects, and need not accept all it takes.

use super::json;
use super::layout::{Cell, Layout, Scratch};
use super::scan::skip_whitespace;

/// Remembers the order of the fields in the last record, which is the best guess for the next.
#[derive(Debug)]
pub(super) struct Order {
    /// The field that followed each field; the last one is that of the first field.
    next: Vec<usize>,
}

impl Order {
    pub(super) fn new(layout: &Layout) -> Self {
        let count = layout.fields.len();
        Self { next: (1..count).chain([0, 0]).take(count + 1).collect() }
    }
}

/// Reads a record into `cells`, one for each field; `None` if it is irregular.
pub(super) fn read(
    layout: &Layout,
    order: &mut Order,
    text: &str,
    cells: &mut [Cell],
    scratch: &mut Scratch,
) -> Option<()> {
    if !layout.fits_bits {
        return None;
    }
    let bytes = text.as_bytes();
    let mut at = skip_whitespace(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_whitespace(bytes, at + 1);
    let mut seen = 0_u128;
    let mut filled = 0_u128;
    let mut previous = layout.fields.len();
    loop {
        let (index, value) = member(layout, order, previous, text, at)?;
        at = match index {
            Some(index) => {
                let bit = 1_u128 << index;
                let field = layout.fields.get(index)?;
                if seen & bit != 0 {
                    return None;
                }
                seen |= bit;
                let cell = cells.get_mut(index)?;
                let after = layout.cell(field, text, value, cell, scratch).ok()?;
                if !matches!(cell, Cell::Null) {
                    filled |= bit;
                }
                previous = index;
                after
            }
            None => json::value(bytes, value, 1).ok()?,
        };
        match bytes.get(at) {
            Some(b',') => at = skip_whitespace(bytes, at + 1),
            Some(b'}') => break,
            _ => {
                at = skip_whitespace(bytes, at);
                match bytes.get(at) {
                    Some(b',') => at = skip_whitespace(bytes, at + 1),
                    Some(b'}') => break,
                    _ => return None,
                }
            }
        }
    }
    if skip_whitespace(bytes, at + 1) != bytes.len() || filled & layout.required != layout.required
    {
        return None;
    }
    clear_unseen(cells, seen);
    Some(())
}

/// The field whose key stands at `at`, `None` if it is undeclared, and where its value begins.
#[inline]
fn member(
    layout: &Layout,
    order: &mut Order,
    previous: usize,
    text: &str,
    at: usize,
) -> Option<(Option<usize>, usize)> {
    let bytes = text.as_bytes();
    let guess = order.next.get(previous).copied();
    if let Some((index, field)) = guess.and_then(|index| Some((index, layout.fields.get(index)?)))
        && let Some(value) = field.key.matches(bytes, at)
    {
        return Some((Some(index), skip_whitespace(bytes, value)));
    }
    let key = json::string(bytes, at).ok().filter(|key| !key.escaped)?;
    let colon = skip_whitespace(bytes, key.end);
    if bytes.get(colon) != Some(&b':') {
        return None;
    }
    let index = layout.find(text.get(at + 1..key.end - 1)?);
    if let Some((index, guess)) = index.zip(order.next.get_mut(previous)) {
        *guess = index;
    }
    Some((index, skip_whitespace(bytes, colon + 1)))
}

/// Fields that the record does not have are null.
#[inline]
fn clear_unseen(cells: &mut [Cell], seen: u128) {
    if seen.count_ones() as usize != cells.len() {
        for (index, cell) in cells.iter_mut().enumerate() {
            if seen >> index & 1 == 0 {
                *cell = Cell::Null;
            }
        }
    }
}
