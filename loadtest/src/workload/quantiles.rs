//! The figures of real public chat that the generator is fitted to: 456,893 events of 452 rooms over two years
//! (English, Korean, Japanese, Russian, Chinese, Arabic, Hindi and others).

/// Body sizes of messages in bytes of UTF-8: (quantile, bytes). Their mean is 71.3.
pub const BODY_BYTES: [(f64, f64); 10] = [
    (0.0, 1.0),
    (0.01, 2.0),
    (0.10, 9.0),
    (0.50, 45.0),
    (0.75, 88.0),
    (0.90, 146.0),
    (0.99, 429.0),
    (0.999, 1535.0),
    (0.9999, 3000.0),
    (1.0, 6309.0),
];

/// Shares of all events that the ten largest rooms have, largest first: 72 % together.
pub const ROOM_SHARES: [f64; 10] = [0.4701, 0.0457, 0.0420, 0.0343, 0.0303, 0.0240, 0.0206, 0.0204, 0.0185, 0.0169];

/// Members of a room: the median is 6 and p90 is 62, which a log-normal of this sigma has.
pub const MEMBERS_MEDIAN: f64 = 6.0;
/// ln(62 / 6) over the normal quantile of 0.9.
pub const MEMBERS_SIGMA: f64 = 1.822;

/// Joins in all events.
pub const JOIN_SHARE: f64 = 17_931.0 / 456_893.0;
/// Leaves in all events.
pub const LEAVE_SHARE: f64 = 2_732.0 / 456_893.0;
/// Topics in all events.
pub const TOPIC_SHARE: f64 = 45.0 / 456_893.0;
/// Actions in messages and actions.
pub const ACTION_SHARE: f64 = 2_501.0 / 436_185.0;

/// A value at a quantile of a table: log-linear between its points, so that a long tail keeps its shape.
pub fn interpolate(table: &[(f64, f64)], quantile: f64) -> f64 {
    let above = table.partition_point(|(q, _)| *q <= quantile);
    match (above.checked_sub(1).and_then(|i| table.get(i)), table.get(above)) {
        (Some((q0, v0)), Some((q1, v1))) => {
            let part = (quantile - q0) / (q1 - q0);
            (v0.ln() + part * (v1.ln() - v0.ln())).exp()
        }
        (Some((_, last)), None) => *last,
        (None, Some((_, first))) => *first,
        (None, None) => 0.0,
    }
}
