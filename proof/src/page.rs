//! `docs/proof.md`: the tables of it, made from the results of a run.
//!
//! Owns what stands between the page's two marks, and nothing else of it. No figure is typed by hand.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report::{Case, Machine, Outcome, SUITES};

const BEGIN: &str = "<!-- results: made by `prove page` -->";
const END: &str = "<!-- end of results -->";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PageArgs {
    /// The results of a run, as `prove all` leaves them
    #[arg(long, default_value = "docs/proof", value_name = "DIR")]
    results: PathBuf,
    /// The page
    #[arg(long, default_value = "docs/proof.md", value_name = "FILE")]
    page: PathBuf,
    /// Change nothing; fail when the page does not say what the results say
    #[arg(long)]
    check: bool,
}

/// Writes the tables into the page, or checks them.
pub(crate) fn run(args: &PageArgs) -> ExitCode {
    match write(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("prove: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(args: &PageArgs) -> Result<()> {
    let name = args.page.display();
    let page = std::fs::read_to_string(&args.page).with_context(|| name.to_string())?;
    let (head, rest) = page.split_once(BEGIN).with_context(|| format!("{name} has no {BEGIN}"))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("{name} has no {END}"))?;
    let made = format!("{head}{BEGIN}\n\n{}\n{END}{tail}", tables(args)?);
    if args.check {
        ensure!(made == page, "{name} does not say what the results say: run `prove page`");
        return Ok(());
    }
    std::fs::write(&args.page, made).with_context(|| name.to_string())
}

fn tables(args: &PageArgs) -> Result<String> {
    let machine = Machine::load(&args.results)?;
    let mut outcomes = Vec::new();
    for suite in SUITES {
        if let Some(outcome) = Outcome::load(suite, &args.results)? {
            outcomes.push(outcome);
        }
    }
    ensure!(!outcomes.is_empty(), "{} holds no results", args.results.display());
    let mut text = String::new();
    let Machine { day, processor, cores, memory_gib, kernel } = machine;
    writeln!(text, "Run on {day}: {processor}, {cores} cores, {memory_gib} GiB, {kernel}.\n")?;
    text.push_str(&overview(&outcomes)?);
    for outcome in &outcomes {
        text.push_str(&section(outcome)?);
    }
    Ok(text)
}

fn overview(outcomes: &[Outcome]) -> Result<String> {
    let mut text = String::from(
        "| suite | size | commit | faults seen | lost | duplicated | altered | seconds | result |\n|---|---|---|--:|--:|--:|--:|--:|---|\n",
    );
    for outcome in outcomes {
        let faults: u64 = outcome.cases.iter().map(|case| case.count).sum();
        let result = if outcome.passed() { "passed" } else { "**failed**" };
        writeln!(
            text,
            "| [{0}](#{0}) | {1} | {2} | {faults} | {3} | {4} | {5} | {6:.0} | {result} |",
            outcome.suite,
            outcome.size,
            outcome.commit,
            outcome.lost,
            outcome.duplicated,
            outcome.altered,
            outcome.seconds
        )?;
    }
    Ok(text)
}

fn section(outcome: &Outcome) -> Result<String> {
    let mut text = format!("\n### {}\n\n```sh\n{}\n```\n\n", outcome.suite, outcome.command);
    if !outcome.figures.is_empty() {
        let figures: Vec<_> = outcome
            .figures
            .iter()
            .map(|(name, value)| format!("{name}: {}", plain(value)))
            .collect();
        writeln!(text, "{}\n", cell(&figures.join(" · ")))?;
    }
    text.push_str("| case | seen | held | |\n|---|--:|---|---|\n");
    for case in &outcome.cases {
        let Case { name, count, detail, .. } = case;
        let held = if case.holds() { "yes" } else { "**no**" };
        writeln!(text, "| {} | {count} | {held} | {} |", cell(name), cell(detail))?;
    }
    Ok(text)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text that can't end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    #[test]
    fn a_section_holds_the_command_and_every_case() {
        let mut outcome = Outcome::new("kill", Size::Ci);
        outcome.case("a|b", 3, true, "fine");
        outcome.case("never met", 0, true, "");
        outcome.figure("kills", 7);
        let text = section(&outcome).unwrap();
        assert!(text.contains("-- kill --size ci"), "{text}");
        assert!(text.contains("kills: 7"), "{text}");
        assert!(text.contains("| a\\|b | 3 | yes | fine |"), "{text}");
        assert!(text.contains("| never met | 0 | **no** |  |"), "{text}");
    }
}
