//! Errors: what does not decode, and the codes by which a site refuses.

/// A record that decodes as protobuf and still makes no sense. Names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No such message.
    #[error("{kind} does not decode: {reason}")]
    Malformed {
        /// The message expected.
        kind: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A field that must be there is not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A value outside its range.
    #[error("{field} is out of range")]
    Range {
        /// The field.
        field: &'static str,
    },
    /// A fixed length is not met.
    #[error("{field} must have {want} bytes, not {got}")]
    Length {
        /// The field.
        field: &'static str,
        /// Bytes wanted.
        want: usize,
        /// Bytes there.
        got: usize,
    },
    /// A limit is passed, or the field is empty.
    #[error("{field} must have 1 to {max} bytes or entries, not {got}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The limit.
        max: usize,
        /// What is there.
        got: usize,
    },
}

impl DecodeError {
    /// Of prost's error.
    pub fn malformed(kind: &'static str, e: &prost::DecodeError) -> Self {
        Self::Malformed { kind, reason: e.to_string() }
    }
}

/// Why a site refuses. The numbers are part of the protocol: never reused, never renumbered.
///
/// 1xx are *permanent*: no site will ever accept this request. 2xx are *situational*: another site, or this
/// one later, may. 3xx end the session or ask it to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Code {
    /// Does not decode, or a field is out of range.
    Malformed = 100,
    /// Another request has this id.
    IdConflict = 101,
    /// The device is not this user's.
    DeviceMismatch = 102,
    /// The room id does not follow from the create request.
    RoomMismatch = 103,
    /// Over a size limit.
    TooLarge = 104,
    /// A kind of request that this site does not know.
    UnknownKind = 105,

    /// This site does not know the room.
    UnknownRoom = 200,
    /// Not allowed by what this site knows (not a member, not invited).
    NotPermitted = 201,
    /// The stamp is too far ahead of this site's clock.
    StampAhead = 202,
    /// A limit of this site is reached: try again later.
    Busy = 203,
    /// The site is catching up.
    NotReady = 204,
    /// The site's clock is off: it accepts nothing for now.
    ClockOff = 205,

    /// No common protocol version.
    Version = 300,
    /// Not authenticated.
    Unauthenticated = 301,
    /// The site shuts down: move.
    ShuttingDown = 302,
    /// The peer broke the protocol.
    ProtocolError = 303,
    /// Too many sessions.
    Overloaded = 304,
    /// The session's token has ended: come again with a newer one.
    TokenExpired = 305,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 18] = [
        Code::Malformed,
        Code::IdConflict,
        Code::DeviceMismatch,
        Code::RoomMismatch,
        Code::TooLarge,
        Code::UnknownKind,
        Code::UnknownRoom,
        Code::NotPermitted,
        Code::StampAhead,
        Code::Busy,
        Code::NotReady,
        Code::ClockOff,
        Code::Version,
        Code::Unauthenticated,
        Code::ShuttingDown,
        Code::ProtocolError,
        Code::Overloaded,
        Code::TokenExpired,
    ];

    /// Of its number; `None` for a number that a newer site made up.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u32 == number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Whether a refusal with this number is for good. Unknown numbers are not.
    pub fn number_is_permanent(number: u32) -> bool {
        (100..200).contains(&number)
    }
}
