//! What a report says of a run, computed from the ledger and from what the clients saw.

use std::collections::BTreeMap;

use crate::latency::{Latency, Measure, Phase, Timeline};
use crate::ledger::{Ledger, Seen};
use crate::outage::{OutageSummary, Wait, Window, outage_us};
use crate::report::{OutageReport, PhaseLatency};

/// Moments of a run that figures are cut at, microseconds since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cuts {
    /// The fault.
    pub fault_us: Option<u64>,
    /// The return.
    pub back_us: Option<u64>,
    /// The last moment that was looked at.
    pub end_us: u64,
}

impl Cuts {
    fn phase(&self, intended_us: u64) -> Phase {
        Phase::at(intended_us, self.fault_us, self.back_us)
    }
}

/// Latencies by part of the run and by second.
pub fn latencies(ledger: &Ledger, clients: &[&Seen], cuts: Cuts) -> (Vec<PhaseLatency>, Timeline) {
    let mut by_phase: BTreeMap<Phase, [Latency; 3]> = BTreeMap::new();
    let mut timeline = Timeline::default();
    let mut reached = |measure: Measure, intended: u64, at: u64, timeline: &mut Timeline| {
        let latency = at.saturating_sub(intended);
        by_phase.entry(cuts.phase(intended)).or_default()[measure as usize].record(latency);
        timeline.reached(measure, at, latency);
    };
    for sent in &ledger.sent {
        timeline.sent(sent.intended_us);
        if let Some(at) = sent.stored_us {
            reached(Measure::Stored, sent.intended_us, at, &mut timeline);
        }
        if let Some(at) = sent.replicated_us {
            reached(Measure::Replicated, sent.intended_us, at, &mut timeline);
        }
    }
    for seen in clients {
        for shown in &seen.shown {
            // What a member is shown of the time before it joined, or between leaving and coming again, says nothing
            // about the relay's speed.
            if let Some(sent) = ledger.get(shown.no).filter(|s| seen.expects(s)) {
                reached(Measure::Delivered, sent.intended_us, shown.at_us(), &mut timeline);
            }
        }
    }
    let phases = by_phase
        .into_iter()
        .map(|(phase, [stored, replicated, delivered])| PhaseLatency {
            phase,
            stored: stored.summary(),
            replicated: replicated.summary(),
            delivered: delivered.summary(),
        })
        .collect();
    (phases, timeline)
}

/// Outages around the fault. `lost_home` says of each client whether its home was the site that was lost.
pub fn outages(ledger: &Ledger, clients: &[&Seen], lost_home: &[bool], cuts: Cuts) -> OutageReport {
    let Some(fault_us) = cuts.fault_us else { return OutageReport::default() };
    let publishes = publish_waits(ledger, clients.len(), cuts.end_us);
    let deliveries: Vec<Vec<Wait>> = delivery_waits(ledger, clients, cuts.end_us);
    let away = Window { from_us: fault_us, until_us: cuts.back_us.unwrap_or(cuts.end_us) };
    let before = Window { from_us: fault_us.saturating_sub(away.until_us - away.from_us), until_us: fault_us };
    let after = cuts.back_us.map(|back| Window { from_us: back, until_us: cuts.end_us });
    let of = |window: Window, who: &dyn Fn(usize) -> bool, own: bool, theirs: bool| {
        let each = (0..clients.len()).filter(|c| who(*c)).filter_map(|c| {
            let own = publishes[c].iter().filter(|_| own);
            outage_us(window, own.chain(deliveries[c].iter().filter(|_| theirs)).copied())
        });
        OutageSummary::of(each)
    };
    let lost = |c: usize| lost_home.get(c).copied().unwrap_or(false);
    let everybody = |_: usize| true;
    OutageReport {
        lost_home: of(away, &lost, true, true),
        all: of(away, &everybody, true, true),
        publish: of(away, &lost, true, false),
        delivery: of(away, &lost, false, true),
        at_return: after.map(|w| of(w, &everybody, true, true)).unwrap_or_default(),
        control: of(before, &everybody, true, true),
        rehomed_99_ms: None,
    }
}

/// A client waits for the ack of what it sent; for what was refused it waits no more.
fn publish_waits(ledger: &Ledger, clients: usize, end_us: u64) -> Vec<Vec<Wait>> {
    let mut waits = vec![Vec::new(); clients];
    for sent in ledger.sent.iter().filter(|s| s.refused.is_none()) {
        if let Some(of) = waits.get_mut(sent.client as usize) {
            let until_us = sent.stored_us.or(sent.replicated_us).unwrap_or(end_us).max(sent.intended_us);
            of.push(Wait { from_us: sent.intended_us, until_us });
        }
    }
    waits
}

/// A member waits for what somebody meant to send, whether or not that somebody can.
fn delivery_waits(ledger: &Ledger, clients: &[&Seen], end_us: u64) -> Vec<Vec<Wait>> {
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut waits = vec![Vec::new(); clients.len()];
    for (client, seen) in clients.iter().enumerate() {
        for room in seen.joined_us.keys() {
            members.entry(*room).or_default().push(client);
        }
        for shown in &seen.shown {
            if let Some(sent) = ledger.get(shown.no).filter(|s| seen.expects(s)) {
                // Times of showings are coarser than times of sends.
                waits[client].push(Wait { from_us: sent.intended_us, until_us: shown.at_us().max(sent.intended_us) });
            }
        }
    }
    for (no, sent) in ledger.sent.iter().enumerate().filter(|(_, s)| s.is_acked()) {
        for client in members.get(&sent.room).into_iter().flatten() {
            let seen = clients[*client];
            if seen.expects(sent) && !seen.has(no as u32) && !seen.behind_gap(sent) {
                waits[*client].push(Wait { from_us: sent.intended_us, until_us: end_us.max(sent.intended_us) });
            }
        }
    }
    waits
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
