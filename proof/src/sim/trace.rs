//! What happened, line by line: a digest always, the text when somebody wants to read it.

use std::fmt::{Arguments, Write};

/// Lines kept at most; the tail is what explains a failure.
const KEPT: usize = 200_000;

#[derive(Debug)]
pub(super) struct Trace {
    digest: u64,
    line: String,
    text: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Self {
        Self { digest: 0xCBF2_9CE4_8422_2325, line: String::new(), text: readable.then(Vec::new) }
    }

    pub(super) fn say(&mut self, what: Arguments<'_>) {
        self.line.clear();
        if self.line.write_fmt(what).is_err() {
            return;
        }
        for byte in self.line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        if let Some(text) = self.text.as_mut().filter(|text| text.len() < KEPT) {
            text.push(self.line.clone());
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn into_text(self) -> Vec<String> {
        self.text.unwrap_or_default()
    }
}
