//! The verdict for the terminal.

use std::fmt::Write;

use super::Report;
use crate::latency::Phase;
use crate::outage::OutageSummary;

/// A run's outcome in a few lines.
pub fn summary(report: &Report) -> String {
    let v = &report.verdict;
    let e = &report.events;
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "  messages     sent {}, acked {}, replicated {}, delivered {}",
        v.sent, v.acked, v.replicated, v.delivered
    ));
    if v.refused > 0 || v.unanswered > 0 || v.unreplicated > 0 || v.behind_gaps > 0 {
        line(format!(
            "               refused {}, unanswered {}, never replicated {}, behind announced gaps {}",
            v.refused, v.unanswered, v.unreplicated, v.behind_gaps
        ));
    }
    line(format!("  lost         {} (at sites {}, at members {})", v.lost, v.lost_at_sites, v.lost_at_members));
    line(format!("  shown twice  {}", v.shown_twice));
    line(format!("  out of place {}", v.out_of_place));
    if v.foreign > 0 {
        line(format!("  foreign      {} (nobody sent these)", v.foreign));
    }
    let a = &v.acts;
    line(format!(
        "  besides      edits {}, redactions {}, reactions {}, taken back {}, joins {}, leaves {}, names {}, read markers {}",
        a.edits, a.redactions, a.reactions, a.unreactions, a.joins, a.leaves, a.names, report.clients.marks
    ));
    let zeros = a.zeros().map(|(name, n)| format!("{name} {n}"));
    line(format!("  of these     {}", zeros.join(", ")));
    if a.refused > 0 || a.looks_uncertain > 0 {
        line(format!(
            "               refused {}, messages not judged for want of an answer {}",
            a.refused, a.looks_uncertain
        ));
    }
    line(format!(
        "  convergence  hashes {}, outboxes {}; {} messages read back at {} sites",
        if v.hashes_equal { "equal" } else { "NOT equal" },
        if v.outboxes_empty { "empty" } else { "NOT empty" },
        v.messages_read,
        v.sites_read
    ));
    if let Some(at) = e.fault_s {
        line(format!("  fault        {} of {} at {at:.1} s, {}", e.fault, e.site, back(report)));
        line(format!("  outage       {} (clients of that site)", outage(&report.outage.lost_home)));
        line(format!(
            "               {} (all clients); with nothing wrong {}",
            outage(&report.outage.all),
            outage(&report.outage.control)
        ));
    }
    for p in &report.latency {
        let name = match p.phase {
            Phase::Before => "before",
            Phase::During => "during",
            Phase::After => "after",
        };
        line(format!(
            "  {name:<12} ack 1 {:.1}/{:.1} ms, ack 2 {:.1}/{:.1} ms, delivery {:.1}/{:.1} ms (p50/p99)",
            p.stored.p50_ms,
            p.stored.p99_ms,
            p.replicated.p50_ms,
            p.replicated.p99_ms,
            p.delivered.p50_ms,
            p.delivered.p99_ms
        ));
    }
    for example in &v.examples {
        line(format!("  ! {example}"));
    }
    let word = if report.passed { "the verdict HOLDS" } else { "the verdict DOES NOT HOLD" };
    let _ = write!(out, "{word}: {}", report.command);
    out
}

fn back(report: &Report) -> String {
    let e = &report.events;
    let Some(at) = e.back_s else { return "not brought back".to_owned() };
    match e.caught_up_after_s {
        Some(s) => format!("back at {at:.1} s, caught up {s:.1} s later"),
        None => format!("back at {at:.1} s, NOT caught up"),
    }
}

fn outage(s: &OutageSummary) -> String {
    format!("p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms", s.p50_ms, s.p99_ms, s.max_ms)
}
