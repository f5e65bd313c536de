//! Latencies: histograms, their summaries, and series over time. Every latency is taken from the *intended* time of a
//! send, so that a stalled system cannot hide its stall by slowing its load down (no coordinated omission).

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency told apart, microseconds: longer ones count as this.
pub const LATENCY_US_MAX: u64 = 600_000_000;

/// A histogram of microseconds with three significant digits.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::with_digits(3)
    }
}

impl Latency {
    /// Fewer digits take less memory: two are enough for a plot.
    pub fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_max(LATENCY_US_MAX, digits.clamp(1, 5));
        Self { histogram: histogram.expect("1 to 5 digits and a high bound above 2 are valid") }
    }

    /// Counts one.
    pub fn record(&mut self, us: u64) {
        self.histogram.saturating_record(us.min(LATENCY_US_MAX));
    }

    /// Counts another's.
    pub fn merge(&mut self, other: &Latency) {
        // Both have the same bounds; a failure could only lose precision, never a count that matters to a verdict.
        let _ = self.histogram.add(&other.histogram);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// A quantile in milliseconds; 0 where nothing was counted.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.histogram.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// What a report says.
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            mean_ms: self.histogram.mean() / 1000.0,
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: self.histogram.max() as f64 / 1000.0,
        }
    }
}

/// Of a histogram, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LatencySummary {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// The parts of a run that latencies are reported for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the fault, or the whole run where there is none.
    Before,
    /// From the fault to the return.
    During,
    /// After the return.
    After,
}

impl Phase {
    /// In the order of time.
    pub const ALL: [Phase; 3] = [Phase::Before, Phase::During, Phase::After];

    /// Which part a time belongs to. `fault` and `back` are microseconds since the run's start.
    pub fn at(us: u64, fault: Option<u64>, back: Option<u64>) -> Self {
        match (fault, back) {
            (Some(fault), _) if us < fault => Phase::Before,
            (Some(_), Some(back)) if us >= back => Phase::After,
            (Some(_), _) => Phase::During,
            (None, _) => Phase::Before,
        }
    }
}

/// What is measured from the intended send on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// To ack 1: fsynced at one site.
    Stored,
    /// To ack 2: fsynced at two sites.
    Replicated,
    /// To a member's receipt.
    Delivered,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 3] = [Measure::Stored, Measure::Replicated, Measure::Delivered];
}

/// One second of a run.
#[derive(Clone, Debug)]
struct Second {
    sent: u64,
    latency: [Latency; 3],
}

impl Default for Second {
    fn default() -> Self {
        Self { sent: 0, latency: std::array::from_fn(|_| Latency::with_digits(2)) }
    }
}

/// Counts and latencies by second of the run. What happens counts in the second in which it happens.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    seconds: Vec<Second>,
}

/// The longest run that is told apart by seconds.
pub const TIMELINE_SECONDS_MAX: usize = 3600;

impl Timeline {
    fn second(&mut self, at_us: u64) -> &mut Second {
        let index = ((at_us / 1_000_000) as usize).min(TIMELINE_SECONDS_MAX - 1);
        if self.seconds.len() <= index {
            self.seconds.resize_with(index + 1, Second::default);
        }
        &mut self.seconds[index]
    }

    /// A message was given to the SDK.
    pub fn sent(&mut self, at_us: u64) {
        self.second(at_us).sent += 1;
    }

    /// Something was reached at `at_us`, `latency_us` after the intended send.
    pub fn reached(&mut self, measure: Measure, at_us: u64, latency_us: u64) {
        self.second(at_us).latency[measure as usize].record(latency_us);
    }

    /// Adds another's seconds.
    pub fn merge(&mut self, other: &Timeline) {
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), Second::default);
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.sent += theirs.sent;
            for (m, t) in mine.latency.iter_mut().zip(&theirs.latency) {
                m.merge(t);
            }
        }
    }

    /// For the report.
    pub fn points(&self) -> Vec<SecondPoint> {
        let point = |(i, s): (usize, &Second)| {
            let of = |m: Measure| &s.latency[m as usize];
            let rate = |m: Measure| of(m).count();
            let tail = |m: Measure, q| (of(m).count() > 0).then(|| of(m).quantile_ms(q));
            SecondPoint {
                second: i as u64,
                sent: s.sent,
                stored: rate(Measure::Stored),
                replicated: rate(Measure::Replicated),
                delivered: rate(Measure::Delivered),
                stored_p50_ms: tail(Measure::Stored, 0.5),
                stored_p99_ms: tail(Measure::Stored, 0.99),
                replicated_p50_ms: tail(Measure::Replicated, 0.5),
                replicated_p99_ms: tail(Measure::Replicated, 0.99),
                delivered_p50_ms: tail(Measure::Delivered, 0.5),
                delivered_p99_ms: tail(Measure::Delivered, 0.99),
            }
        };
        self.seconds.iter().enumerate().map(point).collect()
    }
}

/// One second, as a report has it. A latency is absent where nothing was reached in that second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SecondPoint {
    pub second: u64,
    pub sent: u64,
    pub stored: u64,
    pub replicated: u64,
    pub delivered: u64,
    pub stored_p50_ms: Option<f64>,
    pub stored_p99_ms: Option<f64>,
    pub replicated_p50_ms: Option<f64>,
    pub replicated_p99_ms: Option<f64>,
    pub delivered_p50_ms: Option<f64>,
    pub delivered_p99_ms: Option<f64>,
}

#[cfg(test)]
#[path = "latency_tests.rs"]
mod tests;
