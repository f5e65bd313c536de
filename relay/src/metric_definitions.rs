//! Every metric of the relay: name, unit, meaning. `/metrics` shows these texts.

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::api::ROUTES;

/// Bounds of the buckets of durations, seconds: from a cached read to a stalled disk.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Bounds of the buckets of batch sizes, items.
const ITEMS_BUCKETS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0];

/// Classes of status codes that the API answers with.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counters by route of the API and class of status. All are made at the start, so that a call only counts.
pub struct ByRoute {
    /// The last is for what is no route.
    routes: Vec<[Counter; CLASSES.len()]>,
}

impl ByRoute {
    fn new(name: &'static str) -> Self {
        let labels = ROUTES.iter().map(|route| format!("{} {}", route.method, route.path)).chain(["other".to_owned()]);
        let counters =
            |label: String| CLASSES.map(|class| metrics::counter!(name, "route" => label.clone(), "class" => class));
        Self { routes: labels.map(counters).collect() }
    }

    /// Counts one call.
    pub fn count(&self, method: &str, path: Option<&str>, status: StatusCode) {
        let at = ROUTES.iter().position(|route| route.method == method && Some(route.path) == path);
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.routes[at.unwrap_or(ROUTES.len())][class].increment(1);
    }
}

/// Makes a struct of handles from one table, so that no metric is without its text.
macro_rules! definitions {
    ($($kind:ident $field:ident $name:literal $unit:ident $text:literal;)*) => {
        /// Handles to one relay's metrics. They belong to its own recorder, so that several relays can live in
        /// one process.
        pub struct Metrics {
            handle: PrometheusHandle,
            $(#[doc = $text] pub $field: definitions!(@type $kind),)*
        }

        impl Metrics {
            /// A recorder and its handles.
            pub fn new() -> Self {
                let recorder = recorder();
                let handle = recorder.handle();
                with_local_recorder(&recorder, || {
                    $(definitions!(@describe $kind)($name, metrics::Unit::$unit, $text);)*
                    Self { handle, $($field: definitions!(@register $kind $name),)* }
                })
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),*];
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
    (@type histogram) => { Histogram };
    (@type by_route) => { ByRoute };
    (@describe counter) => { describe_counter };
    (@describe gauge) => { describe_gauge };
    (@describe histogram) => { describe_histogram };
    (@describe by_route) => { describe_counter };
    (@register counter $name:literal) => { metrics::counter!($name) };
    (@register gauge $name:literal) => { metrics::gauge!($name) };
    (@register histogram $name:literal) => { metrics::histogram!($name) };
    (@register by_route $name:literal) => { ByRoute::new($name) };
}

definitions! {
    gauge sessions "causeway_sessions" Count "Client sessions that are open.";
    counter sessions_opened "causeway_sessions_opened_total" Count "Client connections taken.";
    counter sessions_refused "causeway_sessions_refused_total" Count
        "Client connections refused: too many, too slow to say hello, or shutting down.";
    counter sessions_closed_by_error "causeway_sessions_closed_by_error_total" Count
        "Sessions closed because the client broke the protocol.";
    counter sessions_unauthenticated "causeway_sessions_unauthenticated_total" Count
        "Sessions closed for want of a good token: none, a bad one, one that ended, or no hello in time.";
    gauge token_keys "causeway_token_keys" Count "Keys that clients' tokens are checked with; 0 under --dev.";
    gauge certificate_expires_seconds "causeway_certificate_expires_seconds" Seconds
        "Time until the site's certificate in use ends; negative: it has ended.";
    gauge certificates_unusable "causeway_certificates_unusable" Count
        "1 while `ca`, `cert` and `key` as they are on disk cannot be used, and the ones before them stay in use.";
    counter handshakes_retried "causeway_handshakes_retried_total" Count
        "Connections that had to validate their address by a QUIC Retry first.";
    counter handshakes_busy "causeway_handshakes_busy_total" Count
        "Connections refused because as many handshakes are under way as this node takes.";
    counter limited_handshakes "causeway_limited_handshakes_total" Count "Refused by `handshakes_per_s`.";
    counter limited_source_handshakes "causeway_limited_source_handshakes_total" Count "Refused by `source_handshakes_per_s`.";
    counter limited_user_connections "causeway_limited_user_connections_total" Count "Refused by `user_connections_max`.";
    counter limited_connection_requests "causeway_limited_connection_requests_total" Count "Refused by `connection_requests_per_s`.";
    counter limited_connection_bytes "causeway_limited_connection_bytes_total" Count "Refused by `connection_bytes_per_s`.";
    counter limited_user_requests "causeway_limited_user_requests_total" Count "Refused by `user_requests_per_s`.";
    counter limited_user_bytes "causeway_limited_user_bytes_total" Count "Refused by `user_bytes_per_s`.";
    counter limited_in_flight_bytes "causeway_limited_in_flight_bytes_total" Count "Refused by `connection_in_flight_bytes_max`.";
    counter limited_body_bytes "causeway_limited_body_bytes_total" Count "Refused by `body_bytes_max`.";
    counter limited_frame_bytes "causeway_limited_frame_bytes_total" Count "Refused by `frame_bytes_max`.";
    counter limited_history_page "causeway_limited_history_page_total" Count "Refused by `history_page_max`.";
    gauge rooms_limited "causeway_limited_user_rooms" Count "Joins and new rooms refused by `user_rooms_max`, since the start.";
    gauge members_limited "causeway_limited_room_members" Count "Joins refused by `room_members_max`, since the start.";
    gauge invitations_limited "causeway_limited_invitations" Count
        "Invitations refused since who was invited had 100 already, since the start.";
    counter datagrams "causeway_datagrams_total" Count "Datagrams of clients and peers taken: who types, who is there.";
    counter datagrams_malformed "causeway_datagrams_malformed_total" Count
        "Datagrams of clients and peers that are too long, do not decode or make no sense.";
    counter limited_datagrams "causeway_limited_datagrams_total" Count
        "Datagrams dropped: too many of a connection, a user or a peer, or from somebody who has not said hello.";
    counter typing_refused "causeway_typing_refused_total" Count
        "Typing dropped because the user may write no messages in the room, by what this site knows.";
    counter typing_dropped "causeway_typing_dropped_total" Count
        "Typing dropped because too many type in a room, or at this site.";
    counter typing_delivered "causeway_typing_delivered_total" Count "Typing queued for sessions.";
    gauge presence_users "causeway_presence_users" Count "Users of whom this node remembers when they were there.";
    counter presence_refused "causeway_presence_refused_total" Count
        "Times a user's presence was not noted because too many others are remembered.";
    counter submits "causeway_submits_total" Count "Requests handed to shards.";
    counter accepted "causeway_accepted_total" Count "Requests acknowledged as stored (resends too).";
    counter refused "causeway_refused_total" Count "Requests refused.";
    counter deliveries "causeway_deliveries_total" Count "Live events queued for sessions.";
    counter events_read "causeway_events_read_total" Count "Events sent from storage: resume and catch-up.";
    counter overflows "causeway_session_overflows_total" Count
        "Times a session was too slow for its queue and went over to reading from storage.";
    counter reads "causeway_reads_total" Count "Reads from storage for sessions and history.";
    histogram read_seconds "causeway_read_seconds" Seconds "Time of one such read.";
    histogram step_items "causeway_step_items" Count "Inputs that one round of a shard thread took.";
    histogram write_seconds "causeway_write_seconds" Seconds "Time of one unsynced write of a shard thread.";
    histogram durable_seconds "causeway_durable_seconds" Seconds "Time from a write until it was synced.";
    gauge api_connections "causeway_api_connections" Count "Connections to the HTTP API that are open.";
    counter admin_acts "causeway_admin_acts_total" Count "Administrative acts, each of which is logged with who and what.";
    counter api_connections_refused "causeway_api_connections_refused_total" Count
        "Connections to the HTTP API over `api_connections_max`.";
    by_route api_requests "causeway_api_requests_total" Count
        "Calls of the HTTP API, by route (`other`: none of its own) and class of the answer's status.";
    counter alarms "causeway_alarms_total" Count
        "Broken promises that a replica saw: forks, bad ops, mismatched hashes. Anything but 0 needs a look.";
    gauge shards_ready "causeway_shards_ready" Count "Shards that serve.";
    gauge links_up "causeway_links_up" Count "Peer links that are up.";
    counter links_dropped "causeway_links_dropped_total" Count "Peer links that ended: silence, overflow, errors.";
    counter peer_frames_in "causeway_peer_frames_in_total" Count "Shard frames received from peers.";
    counter peer_frames_out "causeway_peer_frames_out_total" Count "Shard frames sent to peers.";
    counter peer_bytes_out "causeway_peer_bytes_out_total" Bytes "Bytes of shard frames sent to peers.";
    gauge clock_offset_seconds "causeway_clock_offset_seconds" Seconds
        "How far the median of the peers' clocks is ahead of this site's.";
    gauge accepting "causeway_accepting" Count "1 while this site accepts requests, 0 while its clock is off.";
    gauge ops_accepted "causeway_ops_accepted" Count "Requests accepted with a new dot, since the start.";
    gauge ops_resent "causeway_ops_resent" Count "Requests found accepted already, since the start.";
    gauge ops_applied "causeway_ops_applied" Count "Ops of other sites applied, since the start.";
    gauge ops_second_dots "causeway_ops_second_dots" Count "Second dots of requests applied, since the start.";
    gauge ops_duplicate "causeway_ops_duplicate" Count "Ops that came twice from peers, since the start.";
    gauge ops_gated "causeway_ops_gated" Count "Ops that waited for what they depend on, since the start.";
    gauge bodies_purged "causeway_bodies_purged" Count "Bodies taken away by redactions, since the start.";
    gauge bodies_expired "causeway_bodies_expired" Count "Bodies whose time had come, since the start.";
    gauge bodies_erased "causeway_bodies_erased" Count "Bodies taken away by erasures of users, since the start.";
    counter erasures_asked "causeway_erasures_asked_total" Count
        "Rooms in which this site asked for the erasure of a user whose own room says so.";
    gauge hidden "causeway_acceptances_hidden" Count "Acceptances hidden by a kick, ban or demotion that came after them, since the start.";
    gauge buckets_mismatched "causeway_buckets_mismatched" Count
        "Digest buckets with equal touch vectors and different hashes, since the start.";
    gauge lag_seconds "causeway_replication_lag_seconds" Seconds
        "Age of the oldest op that some configured site has not acknowledged.";
    gauge cpu_seconds "causeway_process_cpu_seconds" Seconds "CPU time of this process.";
    gauge memory_bytes "causeway_process_memory_bytes" Bytes "Resident memory of this process.";
    gauge memory_peak_bytes "causeway_process_memory_peak_bytes" Bytes "Most resident memory of this process.";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// All of them in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Counts a refusal by a limit, named by its setting.
    pub fn limited(&self, setting: &str) {
        let counter = match setting {
            "handshakes_per_s" => &self.limited_handshakes,
            "source_handshakes_per_s" => &self.limited_source_handshakes,
            "user_connections_max" => &self.limited_user_connections,
            "connection_requests_per_s" => &self.limited_connection_requests,
            "connection_bytes_per_s" => &self.limited_connection_bytes,
            "user_requests_per_s" => &self.limited_user_requests,
            "user_bytes_per_s" => &self.limited_user_bytes,
            "connection_in_flight_bytes_max" => &self.limited_in_flight_bytes,
            "body_bytes_max" => &self.limited_body_bytes,
            "frame_bytes_max" => &self.limited_frame_bytes,
            "history_page_max" => &self.limited_history_page,
            _ => return,
        };
        counter.increment(1);
    }

    /// Folds what the histograms have collected. Without it they grow; call it every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn recorder() -> PrometheusRecorder {
    let suffix = |text: &str| Matcher::Suffix(text.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), &SECONDS_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_items"), &ITEMS_BUCKETS))
        .expect("the buckets are constants and not empty")
        .build_recorder()
}

fn describe_counter(name: &'static str, unit: metrics::Unit, text: &'static str) {
    metrics::describe_counter!(name, unit, text);
}

fn describe_gauge(name: &'static str, unit: metrics::Unit, text: &'static str) {
    metrics::describe_gauge!(name, unit, text);
}

fn describe_histogram(name: &'static str, unit: metrics::Unit, text: &'static str) {
    metrics::describe_histogram!(name, unit, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered_with_its_text_once_it_has_a_value() {
        let metrics = Metrics::new();
        metrics.submits.increment(2);
        metrics.sessions.set(1.0);
        metrics.read_seconds.record(0.01);
        metrics.upkeep();
        let text = metrics.render();
        assert!(text.contains("causeway_submits_total 2"), "{text}");
        assert!(text.contains("# HELP causeway_sessions Client sessions that are open."), "{text}");
        assert!(text.contains("causeway_read_seconds_bucket"), "{text}");
    }

    #[test]
    fn calls_are_counted_by_route_and_class() {
        let metrics = Metrics::new();
        let count = |method, path, status| metrics.api_requests.count(method, path, status);
        count("POST", Some("/v1/rooms"), StatusCode::CREATED);
        count("POST", Some("/v1/rooms"), StatusCode::FORBIDDEN);
        count("GET", Some("/v1/rooms"), StatusCode::METHOD_NOT_ALLOWED);
        count("GET", None, StatusCode::NOT_FOUND);
        let text = metrics.render();
        for line in [
            "causeway_api_requests_total{route=\"POST /v1/rooms\",class=\"2xx\"} 1",
            "causeway_api_requests_total{route=\"POST /v1/rooms\",class=\"4xx\"} 1",
            "causeway_api_requests_total{route=\"other\",class=\"4xx\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn names_are_unique_and_two_recorders_do_not_mix() {
        let mut names = NAMES.to_vec();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
        let (a, b) = (Metrics::new(), Metrics::new());
        a.submits.increment(1);
        assert!(!b.render().contains("causeway_submits_total 1"));
    }
}
