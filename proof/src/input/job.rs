//! The job parser: any text ends in a job, or in one place of the text and what is wrong there.

use anyhow::Result;
use lakehouse::ids::{Offset, PartitionId};
use rand::Rng;
use rand::rngs::StdRng;
use stream_processor::decode::{DecodeOptions, Decoder, RawRecord};
use stream_processor::job::Job;

use super::Target;
use super::corpus::Corpus;
use super::mutate;

/// A message is read by people.
const MESSAGE_CHARS_MAX: usize = 2_000;

pub(super) struct JobText {
    head: String,
}

impl JobText {
    #[expect(clippy::unnecessary_wraps, reason = "as the other targets")]
    pub(super) fn new() -> Result<Self> {
        Ok(Self { head: HEAD.to_owned() })
    }

    /// A condition, put together at random from what the grammar knows.
    fn condition(dice: &mut StdRng, corpus: &Corpus, depth: u32) -> String {
        if depth == 0 {
            return mutate::word(dice, corpus);
        }
        let mut part = || Self::condition(dice, corpus, depth - 1);
        let (one, two) = (part(), part());
        match dice.random_range(0..9) {
            0 => format!("({one} AND {two})"),
            1 => format!("{one} OR {two}"),
            2 => format!("NOT {one}"),
            3 => format!("CASE WHEN {one} THEN {two} END"),
            4 => format!("COALESCE({one}, {two})"),
            5 => format!("CAST({one} AS {two})"),
            6 => format!("{one} IN ({two})"),
            7 => format!("{one} = {two}"),
            _ => format!("{one} {two}"),
        }
    }
}

impl Target for JobText {
    fn name(&self) -> &'static str {
        "job"
    }

    fn title(&self) -> &'static str {
        "the job file, any text"
    }

    fn wanted(&self) -> &[&'static str] {
        &["job", "refused"]
    }

    fn giants(&self) -> Vec<super::Giant> {
        vec![
            ("100,000 parentheses", || filter(&format!("{}a", "(".repeat(100_000)))),
            ("100,000 closed parentheses", || {
                filter(&format!("{}a = 'x'{}", "(".repeat(100_000), ")".repeat(100_000)))
            }),
            ("a chain of 100,000 OR", || filter(&["a = 'x'"; 100_000].join(" OR "))),
            ("a chain of 100,000 AND", || filter(&["a = 'x'"; 100_000].join(" AND "))),
            ("a sum of 100,000", || filter(&format!("{} > 1", ["n"; 100_000].join(" + ")))),
            ("100,000 texts joined", || filter(&format!("{} = 'x'", ["a"; 100_000].join(" || ")))),
            ("100,000 NOT", || filter(&format!("{} TRUE", "NOT ".repeat(100_000)))),
            ("100,000 minuses", || filter(&format!("{} 1 > 0", "- ".repeat(100_000)))),
            ("100,000 CASE", || filter(&"CASE WHEN a = 'x' THEN ".repeat(100_000))),
            ("100,000 branches", || {
                filter(&format!("CASE {} END", "WHEN a = 'x' THEN TRUE ".repeat(100_000)))
            }),
            ("100,000 function calls", || filter(&"UPPER(".repeat(100_000))),
            ("a list of 100,000", || filter(&format!("a IN ({})", ["'x'"; 100_000].join(", ")))),
            ("100,000 columns", || {
                let columns: Vec<_> = (0..100_000).map(|n| format!("a{n} STRING")).collect();
                format!("CREATE TABLE t ({}", columns.join(", ")).into_bytes()
            }),
            ("100,000 statements", || ";".repeat(100_000).into_bytes()),
            ("a type of 100,000 levels", || {
                format!("CREATE TABLE t (a {}", "ARRAY<".repeat(100_000)).into_bytes()
            }),
            ("a comment of 10 MB", || format!("/*{}", "* /".repeat(3 << 20)).into_bytes()),
            ("100,000 comments in each other", || "/*".repeat(100_000).into_bytes()),
            ("a text of 10 MB", || format!("SELECT '{}", "x".repeat(10 << 20)).into_bytes()),
        ]
    }

    fn make(&mut self, dice: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
        if dice.random_ratio(1, 4) {
            let depth = dice.random_range(1..5);
            let condition = Self::condition(dice, corpus, depth);
            return format!("{}{condition}", self.head).into_bytes();
        }
        mutate::from_corpus(dice, corpus)
    }

    fn take(&mut self, input: &[u8]) -> Result<&'static str, String> {
        let text = String::from_utf8_lossy(input);
        match Job::parse(&text) {
            Ok(job) => {
                usable(&job)?;
                Ok("job")
            }
            Err(err) => {
                in_text(&text, err.line, err.column)?;
                let said = err.to_string();
                if said.chars().count() > MESSAGE_CHARS_MAX {
                    return Err(format!("a message of {} characters", said.chars().count()));
                }
                if err.message.trim().is_empty() {
                    return Err("a refusal without a word".to_owned());
                }
                Ok("refused")
            }
        }
    }
}

/// A job that is accepted takes records.
fn usable(job: &Job) -> Result<(), String> {
    let record = RawRecord {
        partition: PartitionId::new(0),
        offset: Offset::new(0),
        timestamp_ms: None,
        payload: Some(b"{}"),
    };
    let decoded = Decoder::new(job, DecodeOptions::default()).decode([record]);
    let found = decoded.rejects.len() + decoded.batch.num_rows();
    // A filter that surely drops a record leaves nothing of it.
    if found > 1 { Err(format!("one record became {found}")) } else { Ok(()) }
}

/// Whether a place is one of the text; the end of a line, and of the text, are.
fn in_text(text: &str, line: u64, column: u64) -> Result<(), String> {
    let wanted = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
    let found = wanted.and_then(|line| text.split('\n').nth(line));
    let room = found.map(|found| found.chars().count() as u64 + 1);
    match room {
        Some(room) if (1..=room).contains(&column) => Ok(()),
        _ => {
            Err(format!("line {line}, column {column} is not in the text, whose line has {room:?}"))
        }
    }
}

const HEAD: &str = "CREATE TABLE t (a STRING NOT NULL, b STRING, n BIGINT, d DECIMAL(12, 2), f DOUBLE, \
ts TIMESTAMP_LTZ(3), flag BOOLEAN) WITH ('connector' = 'kafka', 'topic' = 't', \
'scan.startup.mode' = 'earliest-offset', 'format' = 'json'); INSERT INTO c.n.s SELECT a FROM t WHERE ";

fn filter(condition: &str) -> Vec<u8> {
    format!("{HEAD}{condition}").into_bytes()
}
