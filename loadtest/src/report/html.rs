//! The page for people: one file, no scripts, nothing fetched.

use std::fmt::Write;

use super::svg::{Mark, Plot, Scale, Series, escape, figure};
use super::{PhaseLatency, Report};
use crate::latency::{Phase, SecondPoint};
use crate::outage::OutageSummary;

const STYLE: &str = include_str!("report.css");

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = format!("Causeway {}", report.command);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>\n",
        escape(&title)
    );
    out.push_str(&head(report));
    out.push_str(&tiles(report));
    for plot in plots(report) {
        out.push_str(&figure(&plot));
    }
    out.push_str(&latency_table(&report.latency));
    out.push_str(&outage_table(report));
    out.push_str(&acts_table(report));
    out.push_str(&sites_table(report));
    out.push_str(&examples(report));
    out.push_str("</main></body></html>\n");
    out
}

fn head(report: &Report) -> String {
    let (class, word) = if report.passed { ("good", "holds") } else { ("bad", "does not hold") };
    let w = &report.workload;
    let e = &report.events;
    let fault = match (e.fault.as_str(), e.fault_s) {
        ("", _) | (_, None) => "no fault".to_owned(),
        (kind, Some(at)) => {
            let back = e.back_s.map_or("not brought back".to_owned(), |b| format!("back at {b:.1} s"));
            format!("{}: {kind} at {at:.1} s, {back}", e.site)
        }
    };
    format!(
        "<header><h1>Causeway {}</h1><p class=\"verdict {class}\">the verdict {word}</p>\
         <p>{} clients in {} rooms over {} sites; {:.0} messages/s offered for {:.0} s, each to {:.1} members; {}. {}.</p></header>\n",
        escape(&report.command),
        w.clients,
        w.rooms,
        w.sites,
        w.offered_per_s,
        w.planned_s,
        w.fan_out,
        escape(&w.source),
        escape(&fault)
    )
}

fn tiles(report: &Report) -> String {
    let v = &report.verdict;
    let zero = |n: u64| if n == 0 { "good" } else { "bad" };
    let yes = |b: bool| if b { "good" } else { "bad" };
    let tile = |class: &str, value: String, name: &str| {
        format!("<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>", escape(&value), escape(name))
    };
    let wrong = v.acts.zeros().iter().map(|(_, n)| n).sum();
    let mut all = vec![
        tile(zero(v.lost), v.lost.to_string(), "lost"),
        tile(zero(v.shown_twice), v.shown_twice.to_string(), "shown twice"),
        tile(zero(v.out_of_place), v.out_of_place.to_string(), "out of place"),
        tile(zero(wrong), wrong.to_string(), "other effects wrong"),
        tile(yes(v.hashes_equal), if v.hashes_equal { "equal" } else { "unequal" }.into(), "hashes at the end"),
        tile("", grouped(v.acked), "messages acked"),
        tile("", grouped(v.replicated), "in two sites"),
        tile("", grouped(v.delivered), "deliveries"),
    ];
    if report.events.fault_s.is_some() {
        let o = &report.outage.lost_home;
        all.push(tile("", format!("{:.0} ms", o.p50_ms), "outage p50"));
        all.push(tile(yes(o.p99_ms < 1000.0), format!("{:.0} ms", o.p99_ms), "outage p99"));
        all.push(tile("", format!("{:.0} ms", o.max_ms), "outage max"));
    }
    if let Some(s) = report.events.caught_up_after_s {
        all.push(tile("", format!("{s:.1} s"), "catch-up of the returned site"));
    }
    format!("<section class=\"tiles\">{}</section>\n", all.concat())
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

fn marks(report: &Report) -> Vec<Mark> {
    let e = &report.events;
    let mark = |x: Option<f64>, text: &str, class| x.map(|x| Mark { x, text: text.to_owned(), class });
    let fault = if e.fault == "silence" { "silent" } else { "killed" };
    [mark(e.fault_s, &format!("{} {fault}", e.site), "fault"), mark(e.back_s, "back", "back")]
        .into_iter()
        .flatten()
        .collect()
}

fn plots(report: &Report) -> Vec<Plot> {
    let x_max = report.seconds.last().map_or(0.0, |s| s.second as f64 + 1.0).min(report.events.sent_s.max(1.0) + 10.0);
    let line = |name: &str, colour, dashed, pick: fn(&SecondPoint) -> Option<f64>| Series {
        name: name.to_owned(),
        colour,
        dashed,
        points: report.seconds.iter().map(|s| (s.second as f64 + 0.5, pick(s))).collect(),
    };
    let site_names: Vec<String> = report.sites.iter().map(|s| s.name.clone()).collect();
    let by_site = |pick: &dyn Fn(&super::Sample, usize) -> Option<f64>| {
        let of = |(i, name): (usize, &String)| Series {
            name: name.clone(),
            colour: 3 + i % 3,
            dashed: i >= 3,
            points: report.samples.iter().map(|s| (s.at_s, pick(s, i))).collect(),
        };
        site_names.iter().enumerate().map(of).collect::<Vec<_>>()
    };
    let plot = |title: &str, unit: &str, scale, series| Plot {
        title: title.to_owned(),
        unit: unit.to_owned(),
        scale,
        x_max,
        series,
        marks: marks(report),
    };
    vec![
        plot(
            "Throughput",
            "messages a second",
            Scale::Linear,
            vec![
                line("sent", 0, true, |s| Some(s.sent as f64)),
                line("stored", 1, false, |s| Some(s.stored as f64)),
                line("replicated", 2, false, |s| Some(s.replicated as f64)),
            ],
        ),
        plot("Deliveries", "a second", Scale::Linear, vec![line("delivered", 0, false, |s| Some(s.delivered as f64))]),
        plot(
            "Latency from the intended send",
            "milliseconds, logarithmic",
            Scale::Log,
            vec![
                line("stored p50", 1, false, |s| s.stored_p50_ms),
                line("p99", 1, true, |s| s.stored_p99_ms),
                line("replicated p50", 2, false, |s| s.replicated_p50_ms),
                line("p99", 2, true, |s| s.replicated_p99_ms),
                line("delivered p50", 0, false, |s| s.delivered_p50_ms),
                line("p99", 0, true, |s| s.delivered_p99_ms),
            ],
        ),
        plot("Homes", "clients at each site", Scale::Linear, by_site(&|s, i| s.homes.get(i).map(|n| *n as f64))),
        plot(
            "Replication lag",
            "seconds: age of the oldest op that another site has not acknowledged",
            Scale::Linear,
            by_site(&|s, i| s.lag_s.get(i).copied().flatten()),
        ),
    ]
}

fn table(title: &str, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let cells = |tag: &str, cells: Vec<String>| {
        cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect::<Vec<_>>().concat()
    };
    let rows: Vec<String> = rows.into_iter().map(|r| format!("<tr>{}</tr>", cells("td", r))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let heads = cells("th", heads.iter().map(|h| (*h).to_owned()).collect());
    format!(
        "<section><h2>{}</h2><table><thead><tr>{heads}</tr></thead><tbody>{}</tbody></table></section>\n",
        escape(title),
        rows.concat()
    )
}

fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn latency_table(latency: &[PhaseLatency]) -> String {
    let word = |phase| match phase {
        Phase::Before => "before",
        Phase::During => "site away",
        Phase::After => "after",
    };
    let rows = latency.iter().flat_map(|p| {
        [("ack 1, stored", p.stored), ("ack 2, replicated", p.replicated), ("delivered", p.delivered)].map(
            |(name, l)| {
                let figures = [l.p50_ms, l.p90_ms, l.p99_ms, l.p999_ms, l.max_ms].map(ms);
                [vec![word(p.phase).to_owned(), name.to_owned(), grouped(l.count)], figures.to_vec()].concat()
            },
        )
    });
    table("Latency from the intended send, ms", &["part", "until", "count", "p50", "p90", "p99", "p99.9", "max"], rows)
}

fn outage_table(report: &Report) -> String {
    if report.events.fault_s.is_none() {
        return String::new();
    }
    let o = &report.outage;
    let row = |name: &str, s: &OutageSummary| {
        vec![name.to_owned(), s.clients.to_string(), ms(s.p50_ms), ms(s.p99_ms), ms(s.max_ms)]
    };
    table(
        "Longest wait of each client, ms",
        &["clients, and when", "clients", "p50", "p99", "max"],
        [
            row("home lost, from the fault to the return", &o.lost_home),
            row("of these, own publishes", &o.publish),
            row("of these, messages due to them", &o.delivery),
            row("all, from the fault to the return", &o.all),
            row("all, from the return on", &o.at_return),
            row("all, before the fault (nothing wrong)", &o.control),
        ],
    )
}

fn acts_table(report: &Report) -> String {
    let a = &report.verdict.acts;
    let looks = format!("{} messages compared", grouped(a.looks_compared));
    let compared = |n: u64| format!("{} compared", grouped(n));
    let asked = [
        format!("{} edits; {looks}", grouped(a.edits)),
        format!("{} redactions", grouped(a.redactions)),
        format!("{} reactions, {} taken back; {looks}", grouped(a.reactions), grouped(a.unreactions)),
        format!("{} joins, {} leaves; {}", grouped(a.joins), grouped(a.leaves), compared(a.memberships_compared)),
        format!("{} names; {}", grouped(a.names), compared(a.names_compared)),
        format!("{} read markers; {}", grouped(report.clients.marks), compared(a.unread_compared)),
    ];
    let row = |((name, n), asked): ((&str, u64), String)| vec![name.to_owned(), n.to_string(), asked];
    let rows = a.zeros().into_iter().zip(asked).map(row);
    table("Besides messages, at all sites together", &["what", "how many", "of"], rows)
}

fn sites_table(report: &Report) -> String {
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let rows = report
        .sites
        .iter()
        .map(|s| vec![s.name.clone(), format!("{:.1}", s.cpu_s), mib(s.memory_peak_bytes), mib(s.disk_bytes)]);
    table("Relays", &["site", "CPU seconds", "peak memory, MiB", "disk, MiB"], rows)
}

fn examples(report: &Report) -> String {
    table("What was wrong", &["case"], report.verdict.examples.iter().map(|e| vec![e.clone()]))
}
