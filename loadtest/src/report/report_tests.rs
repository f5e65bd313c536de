use super::*;
use crate::verdict::ActsVerdict;

/// A run like a real one, for the page.
pub(crate) fn example() -> Report {
    let seconds = (0..60u64)
        .map(|second| {
            let away = (20..40).contains(&second);
            let spike = if second == 20 { 40.0 } else { 1.0 };
            // Quarters and eighths: floats that JSON writes in full.
            let wave = 1.0 + ((second * 7 % 11) as f64 - 5.0) / 64.0;
            SecondPoint {
                second,
                sent: (2000.0 * wave) as u64,
                stored: (if second == 20 { 1500.0 } else { 2000.0 } * wave) as u64,
                replicated: (if second == 20 { 1400.0 } else { 1990.0 } * wave) as u64,
                delivered: (28_000.0 * wave) as u64,
                stored_p50_ms: Some(2.0 * wave),
                stored_p99_ms: Some(9.0 * spike * wave),
                replicated_p50_ms: Some(if away { 3.5 } else { 3.0 } * wave),
                replicated_p99_ms: Some(14.0 * spike * wave),
                delivered_p50_ms: Some(2.5 * wave),
                delivered_p99_ms: (second != 33).then_some(12.0 * spike * wave),
            }
        })
        .collect();
    let samples = (0..120)
        .map(|i| {
            let at_s = f64::from(i) / 2.0;
            let away = (20.5..40.0).contains(&at_s);
            let back = ((at_s - 45.0) / 10.0).clamp(0.0, 1.0);
            let moved = if away {
                0.0
            } else if at_s < 20.5 {
                67.0
            } else {
                (67.0 * back).round()
            };
            let lag = if away { Some(at_s - 20.0) } else { Some(0.015625) };
            Sample {
                at_s,
                homes: vec![
                    moved as u64,
                    67 + ((67.0 - moved) / 2.0) as u64,
                    66 + ((67.0 - moved) / 2.0).ceil() as u64,
                ],
                lag_s: vec![(!away).then_some(0.015625), lag, lag.map(|l| l * 0.875)],
            }
        })
        .collect();
    let latency = Phase::ALL.map(|phase| PhaseLatency {
        phase,
        stored: LatencySummary { count: 40_000, p50_ms: 2.01, p99_ms: 9.3, max_ms: 420.0, ..LatencySummary::default() },
        replicated: LatencySummary { count: 40_000, p50_ms: 3.0, p99_ms: 14.0, ..LatencySummary::default() },
        delivered: LatencySummary { count: 560_000, p50_ms: 2.6, p99_ms: 12.0, ..LatencySummary::default() },
    });
    Report {
        command: "demo".into(),
        workload: WorkloadReport {
            source: "generated, seed 1".into(),
            seed: 1,
            clients: 200,
            sites: 3,
            rooms: 120,
            messages: 120_000,
            offered_per_s: 2000.0,
            fan_out: 14.2,
            planned_s: 60.0,
            ..WorkloadReport::default()
        },
        events: RunEvents {
            fault: "kill".into(),
            site: "seoul".into(),
            fault_s: Some(20.0),
            back_s: Some(40.0),
            ready_after_s: Some(0.8),
            caught_up_after_s: Some(1.6),
            sent_s: 60.0,
            outboxes_empty_s: Some(60.2),
            converged_s: Some(60.4),
        },
        verdict: Verdict {
            sent: 120_000,
            acked: 120_000,
            replicated: 120_000,
            delivered: 1_680_000,
            hashes_equal: true,
            outboxes_empty: true,
            sites_read: 3,
            acts: ActsVerdict {
                edits: 2_400,
                redactions: 600,
                reactions: 18_000,
                unreactions: 2_400,
                joins: 4_700,
                leaves: 700,
                names: 12,
                looks_compared: 360_000,
                memberships_compared: 9_000,
                names_compared: 360,
                unread_compared: 144,
                ..ActsVerdict::default()
            },
            ..Verdict::default()
        },
        passed: true,
        outage: OutageReport {
            lost_home: OutageSummary { clients: 67, p50_ms: 410.0, p99_ms: 620.0, max_ms: 640.0 },
            ..OutageReport::default()
        },
        latency: latency.into(),
        sites: ["seoul", "busan", "daejeon"]
            .map(|name| SiteReport {
                name: name.into(),
                cpu_s: 12.0,
                memory_peak_bytes: 90 << 20,
                disk_bytes: 70 << 20,
            })
            .into(),
        seconds,
        samples,
        ..Report::default()
    }
}

#[test]
fn a_report_comes_back_from_its_json() {
    let report = example();
    let json = serde_json::to_string(&report).unwrap();
    assert!(serde_json::from_str::<Report>(&json).unwrap() == report, "{json}");
    // A report of an older version lacks what is new.
    assert_eq!(serde_json::from_str::<Report>("{}").unwrap(), Report::default());
}

#[test]
fn the_page_is_one_file_and_marks_the_fault() {
    let page = page(&example());
    for outside in ["<script", "http://", "https://", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    assert_eq!(page.matches("seoul killed").count(), 5);
    assert!(page.contains("the verdict holds"));
}

#[test]
fn a_failed_run_says_so_everywhere() {
    let mut report = example();
    report.passed = false;
    report.verdict.lost = 3;
    report.verdict.examples = vec!["message <7> is missing".into()];
    let page = page(&report);
    assert!(page.contains("the verdict does not hold") && page.contains("message &lt;7&gt; is missing"));
    let text = summary(&report);
    assert!(
        text.contains("lost         3") && text.contains("DOES NOT HOLD") && text.contains("! message <7>"),
        "{text}"
    );
}

#[test]
fn files_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let [json, html] = write(&example(), &dir.path().join("new")).unwrap();
    let read: Report = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(read.events.site, "seoul");
    // Where a picture of the page is wanted, it is left in this folder.
    if let Some(keep) = std::env::var_os("LOADTEST_EXAMPLE_REPORT") {
        std::fs::copy(html, keep).unwrap();
    }
}

#[test]
fn what_else_was_wrong_is_named_everywhere() {
    let mut report = example();
    report.verdict.acts.redacted_readable = 7;
    report.verdict.acts.unread_wrong = 2;
    let text = summary(&report);
    assert!(text.contains("redacted bodies readable 7") && text.contains("unread wrong 2"), "{text}");
    assert!(text.contains("edits not shown 0, ") && text.contains("reactions 18000, taken back 2400"), "{text}");
    let page = page(&report);
    assert!(page.contains("<td>redacted bodies readable</td><td>7</td>"), "{page}");
    assert!(page.contains("<b>9</b><span>other effects wrong</span>"));
}
