//! Bounds of a shard's buffers and of the work of one step.

/// What one shard may hold in memory, and what one step or frame may take. The default suits a relay; the
/// simulator makes them small, so that its short runs reach what lies beyond them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of rows in one page of a snapshot.
    pub page_bytes_max: usize,
    /// Request rows merged in one step.
    pub merge_rows_max: usize,
    /// Request rows that one step of an erasure looks at.
    pub erase_rows_max: usize,
    /// Bytes of ops that may wait for others. Beyond it all are dropped and asked for again.
    pub waiting_bytes_max: usize,
    /// Bytes of ops on their way to one peer, not acknowledged yet.
    pub in_flight_bytes_max: usize,
    /// Bytes of ops in one frame: well below the frame limit, with one more op of the largest size.
    pub frame_bytes_max: usize,
    /// Order rows that one pump looks at, so that no step takes long.
    pub pump_rows_max: usize,
    /// Of these, rows that are read from the store: a site that catches up must not hold up those who talk. A pump
    /// that stops here goes on with the next tick.
    pub pump_reads_max: usize,
    /// Bytes of the newest ops that are kept for links.
    pub tail_bytes_max: usize,
}

impl Bounds {
    /// A relay's.
    pub const DEFAULT: Self = Self {
        page_bytes_max: 384 << 10,
        merge_rows_max: 512,
        erase_rows_max: 256,
        waiting_bytes_max: 4 << 20,
        in_flight_bytes_max: 1 << 20,
        frame_bytes_max: 256 << 10,
        pump_rows_max: 2_048,
        pump_reads_max: 32,
        tail_bytes_max: 128 << 10,
    };
}

const _: () = assert!(
    Bounds::DEFAULT.frame_bytes_max
        + causeway_protocol::limits::HEADER_BYTES_MAX
        + causeway_protocol::limits::BODY_BYTES_MAX
        + 8 * 1024
        < causeway_protocol::limits::FRAME_BYTES_MAX
);
const _: () = assert!(
    Bounds::DEFAULT.page_bytes_max + causeway_protocol::limits::BODY_BYTES_MAX + 8 * 1024
        < causeway_protocol::limits::FRAME_BYTES_MAX
);
