//! Generates a stream without a broker and says how fast and of what shape.
//!
//! `cargo run --release -p data-emitter --example generate -- 5000000`

use std::io::Write as _;
use std::time::Instant;

use activity_event::field;
use data_emitter::{Emission, Generator, GeneratorSettings};

/// Events unless an argument says otherwise.
const EVENTS: u64 = 2_000_000;

#[allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
fn main() -> anyhow::Result<()> {
    let events: u64 = std::env::args().nth(1).map_or(Ok(EVENTS), |count| count.parse())?;
    let mut generator = Generator::new(&settings());
    let mut record = Emission::blank();
    let mut bytes = 0;
    let start = Instant::now();
    for _ in 0..events {
        generator.fill(&mut record);
        bytes += record.payload.as_ref().map_or(0, Vec::len);
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{events} events in {seconds:.2} s: {:.0} ns each, {:.1} bytes each",
        seconds * 1e9 / events as f64,
        bytes as f64 / events as f64,
    )?;
    say_shape(events)
}

fn settings() -> GeneratorSettings {
    GeneratorSettings::new(1, 1_748_736_000_000)
}

/// Reads the same events as anyone would.
fn say_shape(events: u64) -> anyhow::Result<()> {
    let (mut purchases, mut above_50) = (0_u64, 0_u64);
    for record in Generator::new(&settings()).take(usize::try_from(events)?) {
        let event: serde_json::Value = serde_json::from_slice(&record.payload.unwrap_or_default())?;
        if let Some(value) = event.get(field::TRANSACTION_VALUE).and_then(serde_json::Value::as_f64)
        {
            purchases += 1;
            above_50 += u64::from(value > 50.0);
        }
    }
    writeln!(
        std::io::stdout(),
        "{purchases} purchases ({:.2} %), {above_50} of them above 50 dollars ({:.1} %)",
        purchases as f64 * 100.0 / events as f64,
        above_50 as f64 * 100.0 / purchases as f64,
    )?;
    Ok(())
}
