//! The last minutes, one point a second.
//!
//! Owns rates and the plot's data. Pure and bounded: [`POINTS_MAX`] points of a few numbers.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

use super::progress::JobProgress;
use crate::pipeline::Timestamp;

/// Points that are kept: five minutes and one.
const POINTS_MAX: usize = 301;
/// Points that a rate is taken over: commits come in steps of about a second.
const RATE_POINTS: usize = 5;
/// Points in one step of the plot.
const PLOT_STEP: usize = 2;
/// Time between two points.
const POINT_EVERY: Duration = Duration::from_secs(1);

/// The counters at one time.
#[derive(Clone, Debug)]
struct Point {
    at: Timestamp,
    read: u64,
    rejected: u64,
    /// The most that there was since the point before.
    lag: u64,
    tables: Vec<TableCounts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct TableCounts {
    selected: u64,
    filtered: u64,
    rows: u64,
}

/// Points, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// The most lag since the last point.
    lag: u64,
}

/// What happens in a second, over the last few.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rates {
    pub(super) read: f64,
    pub(super) rejected: f64,
    pub(super) tables: Vec<TableRates>,
}

/// The same for one table.
#[derive(Debug, Default, Serialize)]
pub(super) struct TableRates {
    /// Rows made for it.
    pub(super) selected: f64,
    /// Records not for it.
    pub(super) filtered: f64,
    /// Rows committed.
    pub(super) rows: f64,
}

/// What the page plots; the last value of each list is the newest.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    step_ms: u64,
    /// Records read in a second.
    read: Vec<u64>,
    /// Records behind the end of the topic, as the slowest table sees it, at the worst time of the step.
    lag: Vec<u64>,
}

impl History {
    /// Takes in how things stand at `now`; more often than once a second is fine.
    pub(super) fn observe(&mut self, job: &JobProgress, lag: u64, now: Timestamp) {
        self.lag = self.lag.max(lag);
        let last = self.points.back().map(|point| point.at);
        if last.is_some_and(|at| now.saturating_sub(at) < POINT_EVERY) {
            return;
        }
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        let tables = job.tables.iter().map(|table| TableCounts {
            selected: table.selected,
            filtered: table.filtered,
            rows: table.rows,
        });
        self.points.push_back(Point {
            at: now,
            read: job.read,
            rejected: job.rejected.values().sum(),
            lag: std::mem::take(&mut self.lag),
            tables: tables.collect(),
        });
    }

    /// What happens in a second now.
    pub(super) fn rates(&self) -> Rates {
        let Some(last) = self.points.back() else { return Rates::default() };
        let first = self.points.get(self.points.len().saturating_sub(RATE_POINTS + 1));
        let first = first.unwrap_or(last);
        let span = last.at.saturating_sub(first.at);
        let rate = |from: u64, to: u64| per_second(from, to, span);
        let none = TableCounts::default();
        let tables = last.tables.iter().enumerate().map(|(index, last)| {
            let first = first.tables.get(index).unwrap_or(&none);
            TableRates {
                selected: rate(first.selected, last.selected),
                filtered: rate(first.filtered, last.filtered),
                rows: rate(first.rows, last.rows),
            }
        });
        Rates {
            read: rate(first.read, last.read),
            rejected: rate(first.rejected, last.rejected),
            tables: tables.collect(),
        }
    }

    /// The last minutes.
    pub(super) fn plot(&self) -> Plot {
        let newest_first: Vec<&Point> = self.points.iter().rev().step_by(PLOT_STEP).collect();
        let steps = newest_first.iter().zip(newest_first.iter().skip(1));
        let rate = |(to, from): (&&Point, &&Point)| {
            let rate = per_second(from.read, to.read, to.at.saturating_sub(from.at));
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative"
            )]
            let whole = rate.round() as u64;
            whole
        };
        let mut read: Vec<u64> = steps.map(rate).collect();
        let points: Vec<u64> = self.points.iter().rev().map(|point| point.lag).collect();
        let worst = |step: &[u64]| step.iter().copied().max().unwrap_or(0);
        let mut lag: Vec<u64> = points.chunks(PLOT_STEP).take(read.len()).map(worst).collect();
        read.reverse();
        lag.reverse();
        Plot { step_ms: 1_000 * PLOT_STEP as u64, read, lag }
    }
}

fn per_second(from: u64, to: u64, span: Duration) -> f64 {
    if span.is_zero() {
        return 0.0;
    }
    to.saturating_sub(from) as f64 / span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::TableProgress;
    use super::*;

    fn job(read: u64, rows: u64) -> JobProgress {
        JobProgress {
            read,
            tables: vec![TableProgress { rows, ..TableProgress::default() }],
            ..JobProgress::default()
        }
    }

    #[test]
    fn a_rate_is_taken_over_the_last_seconds() {
        let mut history = History::default();
        assert!(history.rates().read.abs() < 1e-9);
        for second in 0..100 {
            // A quiet minute, then 1,000 records and 10 rows a second.
            let busy = u64::saturating_sub(second, 60);
            history.observe(&job(busy * 1_000, busy * 10), busy, Duration::from_secs(second));
        }
        let rates = history.rates();
        assert!((rates.read - 1_000.0).abs() < 1e-6, "{rates:?}");
        assert!(rates.tables.first().is_some_and(|table| (table.rows - 10.0).abs() < 1e-6));
        let plot = history.plot();
        assert_eq!((plot.read.last(), plot.lag.last()), (Some(&1_000), Some(&39)));
        assert_eq!(plot.read.first(), Some(&0));
    }

    #[test]
    fn the_worst_lag_between_two_points_is_not_missed() {
        let mut history = History::default();
        for quarter in 0..40 {
            // Low whenever a whole second has passed.
            let lag = if quarter % 4 == 0 { 0 } else { 500 };
            history.observe(&job(0, 0), lag, Duration::from_millis(250 * quarter));
        }
        assert!(history.plot().lag.iter().all(|lag| *lag == 500), "{:?}", history.plot());
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        for second in 0..10_000 {
            history.observe(&job(second, 0), 0, Duration::from_secs(second));
        }
        assert_eq!(history.points.len(), POINTS_MAX);
        assert_eq!(history.plot().read.len(), 150);
    }
}
