//! What a run leaves behind: figures as JSON, a page for people, a summary for the terminal.

mod html;
mod summary;
mod svg;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::latency::{LatencySummary, Phase, SecondPoint};
use crate::outage::OutageSummary;
use crate::verdict::Verdict;

pub use html::page;
pub use summary::summary;

/// Everything about one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Which command it was.
    pub command: String,
    /// What was asked for.
    pub workload: WorkloadReport,
    /// When what happened.
    pub events: RunEvents,
    /// Whether the promises were kept.
    pub verdict: Verdict,
    /// Whether [`Verdict::holds`] and no site failed to come back.
    pub passed: bool,
    /// How long clients waited.
    pub outage: OutageReport,
    /// Latencies from the intended send, by part of the run.
    pub latency: Vec<PhaseLatency>,
    /// The clients' own counts.
    pub clients: ClientCounts,
    /// What the relays used.
    pub sites: Vec<SiteReport>,
    /// Second by second.
    pub seconds: Vec<SecondPoint>,
    /// The sites over time.
    pub samples: Vec<Sample>,
}

/// What was played.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct WorkloadReport {
    pub source: String,
    pub seed: u64,
    pub clients: u64,
    pub sites: u64,
    pub rooms: u64,
    pub messages: u64,
    pub joins: u64,
    pub leaves: u64,
    pub topics: u64,
    pub edits: u64,
    pub redactions: u64,
    pub reactions: u64,
    pub unreactions: u64,
    pub marks: u64,
    /// Messages a second meant to be sent, over the planned time.
    pub offered_per_s: f64,
    /// First members of a room, weighted by messages.
    pub fan_out: f64,
    pub planned_s: f64,
}

/// Moments of a run, seconds since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunEvents {
    /// Kind of fault; empty where there was none.
    pub fault: String,
    /// The site that it hit.
    pub site: String,
    /// When it struck.
    pub fault_s: Option<f64>,
    /// When the site was started, or heard, again.
    pub back_s: Option<f64>,
    /// From then until the site said that it is ready.
    pub ready_after_s: Option<f64>,
    /// From then until it held everything that had been acknowledged anywhere by then.
    pub caught_up_after_s: Option<f64>,
    /// When the last event was sent.
    pub sent_s: f64,
    /// When all outboxes were empty.
    pub outboxes_empty_s: Option<f64>,
    /// When all sites' vectors and hashes were equal.
    pub converged_s: Option<f64>,
}

/// Outages: over clients with traffic due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutageReport {
    /// Clients whose home was the site that was lost, from the fault to the return.
    pub lost_home: OutageSummary,
    /// All clients, from the fault to the return.
    pub all: OutageSummary,
    /// Those who lost their home: their own publishes only.
    pub publish: OutageSummary,
    /// Those who lost their home: messages due to them only.
    pub delivery: OutageSummary,
    /// All clients, from the return to the end.
    pub at_return: OutageSummary,
    /// All clients, before the fault: what the same measure says when nothing is wrong.
    pub control: OutageSummary,
    /// From the fault until 99 % of those who lost their home had another.
    pub rehomed_99_ms: Option<f64>,
}

/// Latencies of one part of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PhaseLatency {
    pub phase: Phase,
    pub stored: LatencySummary,
    pub replicated: LatencySummary,
    pub delivered: LatencySummary,
}

/// Sums over all clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct ClientCounts {
    pub moves: u64,
    /// Moves by reason: away from silent, closed, stalled homes; returns.
    pub moves_by_reason: std::collections::BTreeMap<String, u64>,
    /// Read markers sent.
    pub marks: u64,
    /// Edits, redactions and reactions left out because their message was not sent yet, or was refused.
    pub skipped: u64,
    /// Times that an outbox was full and a send had to wait.
    pub outbox_full: u64,
    /// Requests that a site refused for now and that were tried again.
    pub parked: u64,
    pub gaps: u64,
    /// Messages that came before an earlier one of the same sender: allowed, and worth knowing.
    pub overtakes: u64,
    /// Sends that came later than meant because the load tester itself was late, worst, milliseconds.
    pub late_send_max_ms: f64,
    pub cpu_s: f64,
}

/// One relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SiteReport {
    pub name: String,
    pub cpu_s: f64,
    pub memory_peak_bytes: u64,
    pub disk_bytes: u64,
}

/// The sites at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Seconds since the run's start.
    pub at_s: f64,
    /// Clients whose home each site is.
    pub homes: Vec<u64>,
    /// Age of the oldest op that some other site lacks, seconds; absent where the site did not answer.
    pub lag_s: Vec<Option<f64>>,
}

/// Writes `report.json` and `report.html`; their paths.
pub fn write(report: &Report, folder: &Path) -> std::io::Result<[PathBuf; 2]> {
    std::fs::create_dir_all(folder)?;
    let paths = [folder.join("report.json"), folder.join("report.html")];
    let json = serde_json::to_vec_pretty(report).map_err(std::io::Error::other)?;
    std::fs::write(&paths[0], json)?;
    std::fs::write(&paths[1], page(report))?;
    Ok(paths)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
