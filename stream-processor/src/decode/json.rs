//! The grammar of JSON (RFC 8259), and nothing of its meaning.
//!
//! Iterative, so no depth of nesting can exhaust the stack. All functions take the whole record and a
//! place in it, and return the place after what they read.

use super::number;
use super::scan::{skip_whitespace, string_stop};

/// Containers inside each other that are still read; the outermost counts.
pub(super) const DEPTH_MAX: u32 = 127;

/// Why a text is not JSON, or not JSON that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No JSON text continues like this.
    Syntax {
        /// Bytes from the start of the record.
        at: usize,
    },
    /// A container deeper than [`DEPTH_MAX`] begins.
    TooDeep {
        /// Bytes from the start of the record.
        at: usize,
    },
}

/// A string, from its opening quote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// After the closing quote.
    pub(super) end: usize,
    /// Whether anything in it is escaped.
    pub(super) escaped: bool,
}

/// Reads a string whose opening quote is at `at`.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Result<Text, Fault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Fault::Syntax { at });
    }
    let mut stop = string_stop(bytes, at + 1);
    let mut escaped = false;
    loop {
        match bytes.get(stop) {
            Some(b'"') => return Ok(Text { end: stop + 1, escaped }),
            Some(b'\\') => {
                escaped = true;
                stop = string_stop(bytes, escape(bytes, stop)?);
            }
            _ => return Err(Fault::Syntax { at: stop }),
        }
    }
}

/// Reads an escape whose backslash is at `at`.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(Fault::Syntax { at }),
        },
        _ => Err(Fault::Syntax { at }),
    }
}

/// Reads a value that begins at `at` and lies in `depth` containers.
pub(super) fn value(bytes: &[u8], at: usize, depth: u32) -> Result<usize, Fault> {
    let mut open = Containers { depth, outside: depth, objects: 0 };
    let mut at = at;
    loop {
        at = match bytes.get(at) {
            Some(b'"') => string(bytes, at)?.end,
            Some(b'{') => match open.object(bytes, at)? {
                Opened::Empty(after) => after,
                Opened::Value(inside) => {
                    at = inside;
                    continue;
                }
            },
            Some(b'[') => match open.array(bytes, at)? {
                Opened::Empty(after) => after,
                Opened::Value(inside) => {
                    at = inside;
                    continue;
                }
            },
            _ => scalar(bytes, at)?,
        };
        match open.after_value(bytes, at)? {
            Next::Done => return Ok(at),
            Next::Closed(after) => return Ok(after),
            Next::Value(next) => at = next,
        }
    }
}

/// Reads a number, `true`, `false` or `null`.
fn scalar(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first() {
        Some(b't') if rest.starts_with(b"true") => Ok(at + 4),
        Some(b'f') if rest.starts_with(b"false") => Ok(at + 5),
        Some(b'n') if rest.starts_with(b"null") => Ok(at + 4),
        Some(b'-' | b'0'..=b'9') => match number::scan(bytes, at) {
            Some(number) => Ok(number.end),
            None => Err(Fault::Syntax { at }),
        },
        _ => Err(Fault::Syntax { at }),
    }
}

/// Reads a key and its colon; returns where the value begins.
fn key(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let end = skip_whitespace(bytes, string(bytes, at)?.end);
    match bytes.get(end) {
        Some(b':') => Ok(skip_whitespace(bytes, end + 1)),
        _ => Err(Fault::Syntax { at: end }),
    }
}

/// The containers around the place that is read; bit `n` of `objects` tells what the `n`-th is.
struct Containers {
    depth: u32,
    outside: u32,
    objects: u128,
}

enum Opened {
    Empty(usize),
    Value(usize),
}

enum Next {
    /// Nothing was open.
    Done,
    /// The last container closed; here is the place after it.
    Closed(usize),
    /// Another value begins here.
    Value(usize),
}

impl Containers {
    fn object(&mut self, bytes: &[u8], at: usize) -> Result<Opened, Fault> {
        self.open(at, true)?;
        let inside = skip_whitespace(bytes, at + 1);
        if bytes.get(inside) == Some(&b'}') {
            self.depth -= 1;
            return Ok(Opened::Empty(inside + 1));
        }
        Ok(Opened::Value(key(bytes, inside)?))
    }

    fn array(&mut self, bytes: &[u8], at: usize) -> Result<Opened, Fault> {
        self.open(at, false)?;
        let inside = skip_whitespace(bytes, at + 1);
        if bytes.get(inside) == Some(&b']') {
            self.depth -= 1;
            return Ok(Opened::Empty(inside + 1));
        }
        Ok(Opened::Value(inside))
    }

    fn open(&mut self, at: usize, object: bool) -> Result<(), Fault> {
        if self.depth >= DEPTH_MAX {
            return Err(Fault::TooDeep { at });
        }
        self.depth += 1;
        let bit = 1_u128 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        Ok(())
    }

    fn after_value(&mut self, bytes: &[u8], at: usize) -> Result<Next, Fault> {
        if self.depth == self.outside {
            return Ok(Next::Done);
        }
        let mut at = at;
        loop {
            at = skip_whitespace(bytes, at);
            let in_object = self.objects >> self.depth & 1 == 1;
            match (bytes.get(at), in_object) {
                (Some(b','), true) => {
                    return Ok(Next::Value(key(bytes, skip_whitespace(bytes, at + 1))?));
                }
                (Some(b','), false) => return Ok(Next::Value(skip_whitespace(bytes, at + 1))),
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.depth -= 1;
                    at += 1;
                    if self.depth == self.outside {
                        return Ok(Next::Closed(at));
                    }
                }
                _ => return Err(Fault::Syntax { at }),
            }
        }
    }
}

/// Appends what a string means: `raw` is what stands between its quotes.
///
/// `None` when it escapes half a surrogate pair, which no UTF-8 text can hold.
pub(super) fn unescape(raw: &str, into: &mut String) -> Option<()> {
    let mut rest = raw;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        into.push_str(plain);
        let kind = escaped.chars().next()?;
        rest = escaped.get(kind.len_utf8()..)?;
        into.push(match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (unit, after) = code_unit(rest)?;
                rest = after;
                if let Some(plain) = char::from_u32(unit) {
                    plain
                } else {
                    let (low, after) = code_unit(rest.strip_prefix("\\u")?)?;
                    rest = after;
                    surrogates(unit, low)?
                }
            }
            plain => plain,
        });
    }
    into.push_str(rest);
    Some(())
}

fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

fn surrogates(high: u32, low: u32) -> Option<char> {
    let (high, low) = (high.checked_sub(0xd800)?, low.checked_sub(0xdc00)?);
    if high >= 0x400 || low >= 0x400 {
        return None;
    }
    char::from_u32(0x1_0000 + high * 0x400 + low)
}
