//! How long clients waited because of a fault. A client waits while a publish of its own has no ack, and while a message
//! that somebody had meant to send has not come to it. Each client's outage is its longest such wait that a fault can
//! have caused; a client without traffic due had none, and is not counted.

use serde::{Deserialize, Serialize};

/// A wait, in microseconds since the run's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// From when something was due.
    pub from_us: u64,
    /// Until it came.
    pub until_us: u64,
}

/// A stretch of a run, in microseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from_us: u64,
    /// The moment after its last.
    pub until_us: u64,
}

/// A client's longest wait that began in the window, or was still on when it began. What was waited before the window
/// began does not count. `None` if nothing was due.
pub fn outage_us(window: Window, waits: impl IntoIterator<Item = Wait>) -> Option<u64> {
    waits
        .into_iter()
        .filter(|w| w.until_us > window.from_us && w.from_us < window.until_us)
        .map(|w| w.until_us - w.from_us.max(window.from_us))
        .max()
}

/// Of several clients' outages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutageSummary {
    /// Clients with traffic due.
    pub clients: u64,
    /// Half of them waited no longer.
    pub p50_ms: f64,
    /// 99 of 100 waited no longer.
    pub p99_ms: f64,
    /// Nobody waited longer.
    pub max_ms: f64,
}

impl OutageSummary {
    /// Of outages in microseconds.
    pub fn of(outages_us: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = outages_us.into_iter().collect();
        sorted.sort_unstable();
        let rank = |quantile: f64| nearest_rank(&sorted, quantile).map_or(0.0, |us| us as f64 / 1000.0);
        Self { clients: sorted.len() as u64, p50_ms: rank(0.5), p99_ms: rank(0.99), max_ms: rank(1.0) }
    }
}

/// The smallest value that at least this part of the sorted values does not pass.
fn nearest_rank(sorted: &[u64], quantile: f64) -> Option<u64> {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from_us: 1_000_000, until_us: 3_000_000 };

    fn wait(from_us: u64, until_us: u64) -> Wait {
        Wait { from_us, until_us }
    }

    #[test]
    fn an_outage_is_the_longest_wait_from_the_fault_on() {
        let waits = [wait(0, 900_000), wait(900_000, 1_400_000), wait(2_000_000, 2_100_000)];
        assert_eq!(outage_us(WINDOW, waits), Some(400_000), "what was waited before the fault is not its doing");
        assert_eq!(outage_us(WINDOW, [wait(2_900_000, 9_900_000)]), Some(7_000_000), "it began in the window");
        assert_eq!(outage_us(WINDOW, [wait(3_000_000, 9_900_000)]), None, "it began later");
        assert_eq!(outage_us(WINDOW, [wait(0, 1_000_000)]), None, "it was over");
        assert_eq!(outage_us(WINDOW, []), None);
    }

    #[test]
    fn percentiles_are_over_clients() {
        let summary = OutageSummary::of((1..=200).map(|n| n * 1000));
        assert_eq!(summary, OutageSummary { clients: 200, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(OutageSummary::of([5_000]), OutageSummary { clients: 1, p50_ms: 5.0, p99_ms: 5.0, max_ms: 5.0 });
        assert_eq!(OutageSummary::of([]), OutageSummary::default());
    }
}
