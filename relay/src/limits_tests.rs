use super::*;

#[test]
fn limits_have_defaults_and_ranges_that_are_told() {
    let limits = Limits::from_settings(&Settings::default()).expect("the defaults are valid");
    assert_eq!((limits.user_rooms_max, limits.history_page_max), (10_000, 500));
    assert_eq!(limits.encoded_body_bytes_max(), causeway_protocol::limits::BODY_BYTES_MAX);
    type Change = fn(&mut Settings);
    let cases: [(&str, Change); 14] = [
        ("handshakes_per_s", |s| s.handshakes_per_s = Some(0)),
        ("source_handshakes_per_s", |s| s.source_handshakes_per_s = Some(0)),
        ("handshakes_retry_above", |s| s.handshakes_retry_above = Some(-1)),
        ("user_connections_max", |s| s.user_connections_max = Some(0)),
        ("connection_requests_per_s", |s| s.connection_requests_per_s = Some(0)),
        ("connection_bytes_per_s", |s| s.connection_bytes_per_s = Some(1_000)),
        ("user_requests_per_s", |s| s.user_requests_per_s = Some(-4)),
        ("user_bytes_per_s", |s| s.user_bytes_per_s = Some(1_000)),
        ("connection_in_flight_bytes_max", |s| s.connection_in_flight_bytes_max = Some(0)),
        ("room_members_max", |s| s.room_members_max = Some(1)),
        ("user_rooms_max", |s| s.user_rooms_max = Some(10_001)),
        ("body_bytes_max", |s| s.body_bytes_max = Some(65_537)),
        ("frame_bytes_max", |s| s.frame_bytes_max = Some(1_000)),
        ("history_page_max", |s| s.history_page_max = Some(501)),
    ];
    for (name, change) in cases {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = Limits::from_settings(&settings).expect_err(name).to_string();
        assert!(error.contains(&format!("`{name}` is")) && error.contains(": use "), "{error}");
    }
}

#[test]
fn a_limit_names_its_setting_and_when_to_try_again() {
    let over =
        Over { setting: "user_requests_per_s", max: 5, of: "requests a second of this user", retry_after_ms: 200 };
    let wanted =
        "the limit of 5 requests a second of this user (`user_requests_per_s`) is reached: try again in 200 ms";
    assert_eq!(over.to_string(), wanted);
}
