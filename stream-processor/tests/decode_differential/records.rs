//! Records: the emitter's, taken apart, changed and put together again, then damaged.

use data_emitter::{Fraction, Generator, GeneratorSettings};
use streamforge::verify::plain::members;

/// An endless stream that follows from its seed.
pub(crate) struct Records {
    events: Generator,
    dice: Dice,
}

/// `SplitMix64`: small, seeded, good enough to choose mutations.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = u128::from(bits ^ (bits >> 31)) * count as u128;
        usize::try_from(share >> 64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

const EXTRA_FIELDS: &[&str] = &[
    "an_int", "a_long", "a_float", "a_flag", "a_day", "a_time", "a_wide", "unknown", "nested", "",
];

/// Values at the borders of what a type holds, and of what JSON is.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "12.345",
    "0.005",
    "-0.005",
    "2.675",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "9999999999.99",
    "9999999999.994",
    "9999999999.995",
    "10000000000",
    "1e2",
    "1E+2",
    "1e-2",
    "5e-3",
    "1e10",
    "1e308",
    "1e309",
    "1e400",
    "-1e400",
    "1e-400",
    "1e99999999999999999999",
    "3.5e38",
    "1e-99999999999999999999",
    "123456789012345678901234567890",
    "0.1234567890123456789012345678901",
    "9999999999999999999999999999.9999999999",
    "9999999999999999999999999999.99999999995",
    "1.0",
    "1e0",
    "01",
    "1.",
    ".5",
    "1e",
    "+1",
    "NaN",
    "Infinity",
    "-",
    "--1",
    "nul",
    "tru",
    "True",
    "\"\"",
    "\"purchase\"",
    "\"\\u0070urchase\"",
    "\"p\\u0075rchase\\n\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\udc00\"",
    "\"\\ud800\\u0041\"",
    "\"\\ud800x\"",
    "\"\\uZZZZ\"",
    "\"\\x\"",
    "\"\u{e9}\u{1f600}\"",
    "\"a\tb\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"unclosed",
    "\"5\"",
    "\"2025-11-23\"",
    "\"2024-02-29\"",
    "\"2025-02-29\"",
    "\"0000-01-01\"",
    "\"2025-11-23T20:41:07Z\"",
    "\"2025-11-23T20:41:07.123456789Z\"",
    "\"2025-11-23T20:41:07.1234567890Z\"",
    "\"2025-11-23T20:41:07.5+01:00\"",
    "\"2025-11-23T20:41:07-23:59\"",
    "\"2025-11-23T20:41:07+24:00\"",
    "\"2025-11-23T24:00:00Z\"",
    "\"2025-11-23T20:41:60Z\"",
    "\"2025-11-23 20:41:07Z\"",
    "\"2025-11-23T20:41:07\"",
    "\"2025-11-23T20:41:07.25\"",
    "\"2025-11-23t20:41:07z\"",
    "\"\\u0032025-11-23T20:41:07Z\"",
    "\"2025-11-23T20:41:07.Z\"",
    "\"9999-12-31T23:59:59.999Z\"",
    "[]",
    "{}",
    "[1,2]",
    "{\"a\":{\"b\":[null,1e400,\"\\ud800\"]}}",
    "{\"a\":1,\"a\":2}",
    "[1,]",
    "{\"a\"}",
    "{,}",
    "[[[[]]]]",
    "{\"a\":}",
    "[1 2]",
    "[}",
    "{]",
];

/// Bytes that mean something somewhere.
const FRAGMENTS: &[&[u8]] = &[
    b"\\",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\t",
    b"\0",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\\u",
    b"\\ud800",
    b"0",
    b"-",
    b"e",
    b"null",
    b"\xf0\x9f\x98\x80",
    b"//",
    b"purchase",
];

impl Records {
    pub(crate) fn new(seed: u64) -> Self {
        let malformed = Fraction::new(0.05).unwrap();
        let settings =
            GeneratorSettings { malformed, ..GeneratorSettings::new(seed, 1_763_900_000_000) };
        Self { events: Generator::new(&settings), dice: Dice(seed) }
    }

    /// Takes a record apart, changes some of it, and writes it anew.
    fn rewrite(&mut self, text: &str) -> String {
        let mut fields: Vec<(String, String)> = members(text)
            .unwrap()
            .into_iter()
            .map(|(key, value)| (format!("\"{key}\""), value.to_owned()))
            .collect();
        for _ in 0..self.dice.below(4) {
            let index = self.dice.below(fields.len());
            match self.dice.below(8) {
                0 => fields[index].1 = self.dice.one_of(VALUES).into(),
                1 => fields[index].1 = self.scalar(),
                2 => drop(fields.remove(index)),
                3 => {
                    let again = fields[index].clone();
                    fields.insert(self.dice.below(fields.len()), again);
                }
                4 => fields[index].0 = self.escaped(&fields[index].0.clone()),
                5 => {
                    let other = self.dice.below(fields.len());
                    fields.swap(index, other);
                }
                6 => {
                    let levels =
                        self.dice.one_of(&["1", "100", "125", "126", "127", "128", "5000"]);
                    let levels = levels.parse().unwrap();
                    let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
                    fields.insert(index, ("\"deep\"".to_owned(), nested));
                }
                _ => {
                    let name = format!("\"{}\"", self.dice.one_of(EXTRA_FIELDS));
                    let value = if self.dice.one_in(2) {
                        self.dice.one_of(VALUES).to_owned()
                    } else {
                        self.scalar()
                    };
                    fields.insert(index, (name, value));
                }
            }
            if fields.is_empty() {
                break;
            }
        }
        self.write(&fields)
    }

    fn write(&mut self, fields: &[(String, String)]) -> String {
        let airy = self.dice.one_in(3);
        let mut space = || {
            if airy && self.dice.one_in(2) {
                self.dice.one_of(&[" ", "\n", "\t", "\r\n", "   "])
            } else {
                ""
            }
        };
        let mut text = format!("{}{{", space());
        for (index, (key, value)) in fields.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            text += &[comma, space(), key, space(), ":", space(), value, space()].concat();
        }
        text + "}" + space()
    }

    /// A scalar of random digits.
    fn scalar(&mut self) -> String {
        let mut digits = |most: usize| {
            let count = self.dice.below(most) + 1;
            (0..count).map(|_| char::from(b"0123456789"[self.dice.below(10)])).collect::<String>()
        };
        let whole = digits(14);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        let number = match whole.len() % 4 {
            0 => whole.to_owned(),
            1 => format!("{whole}.{}", digits(4)),
            2 => format!("-{whole}.{}", digits(25)),
            _ => format!("{whole}.{}e-{}", digits(3), digits(1)),
        };
        match self.dice.below(8) {
            0 => format!("\"{number}\""),
            1 => format!("\"2025-0{}-1{}T0{}:00:0{}.{}Z\"", &number[..1], 3, 4, 5, number.len()),
            2 => ["true", "false", "null"][number.len() % 3].to_owned(),
            _ => number,
        }
    }

    /// The same key, some of its letters escaped.
    fn escaped(&mut self, key: &str) -> String {
        let escape = |letter: char| {
            if letter.is_ascii_alphabetic() && self.dice.one_in(3) {
                format!("\\u{:04x}", u32::from(letter))
            } else {
                letter.to_string()
            }
        };
        key.chars().map(escape).collect()
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.dice.below(bytes.len() + 1);
        let end = (at + self.dice.below(12)).min(bytes.len());
        match self.dice.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again).for_each(drop);
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << self.dice.below(8),
            _ => {
                let fragment = FRAGMENTS[self.dice.below(FRAGMENTS.len())];
                bytes.splice(at..at, fragment.iter().copied()).for_each(drop);
            }
        }
    }
}

impl Iterator for Records {
    type Item = Option<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let emission = self.events.next()?;
        let Some(payload) = emission.payload else { return Some(None) };
        if emission.fault.is_some() || self.dice.one_in(4) {
            return Some(Some(payload));
        }
        if self.dice.one_in(40) {
            return Some(Some(self.dice.one_of(VALUES).into()));
        }
        let mut bytes = if self.dice.one_in(4) {
            payload
        } else {
            self.rewrite(std::str::from_utf8(&payload).unwrap()).into_bytes()
        };
        if self.dice.one_in(4) {
            self.damage(&mut bytes);
        }
        Some(Some(bytes))
    }
}
