//! Hard limits of the wire. A limit is part of the protocol: both ends check it.

/// A frame's payload, bytes. Large enough for a page of the largest messages, small enough to buffer.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// A message's content, bytes.
pub const CONTENT_BYTES_MAX: usize = 64 << 10;
/// An encoded `Body`: its content, its content type and its salt.
pub const BODY_BYTES_MAX: usize = CONTENT_BYTES_MAX + 512;
/// An encoded `Request`, which holds names and ids only.
pub const REQUEST_BYTES_MAX: usize = 2 << 10;
/// A user id, bytes of UTF-8.
pub const USER_BYTES_MAX: usize = 128;
/// A room's name, bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 512;
/// A room's topic, bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 2_048;
/// How long a body that does not stay is kept at least, ms.
pub const LIFETIME_MS_MIN: u64 = 1_000;
/// How long at most, ms: ten years.
pub const LIFETIME_MS_MAX: u64 = 3_652 * 86_400_000;
/// Pinned messages that a site accepts in one room.
pub const PINS_PER_ROOM_MAX: usize = 50;
/// A reaction's symbol, bytes of UTF-8.
pub const SYMBOL_BYTES_MAX: usize = 64;
/// Edits that a site accepts of one message.
pub const EDITS_PER_MESSAGE_MAX: usize = 1_000;
/// A token, bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// The first hello of a connection, as a frame, bytes: what it can make a site hold before it is authenticated. A client
/// with more cursors says hello as a standby first, and once more with them.
pub const HELLO_BYTES_MAX: usize = 24 << 10;
/// A content type, bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;
/// The salt of a body, bytes.
pub const SALT_BYTES: usize = 16;
/// Requests in one page of history.
pub const HISTORY_PAGE_MAX: u32 = 500;
/// Rooms that one user may be a member of.
pub const ROOMS_PER_USER_MAX: usize = 10_000;
/// Entries of a vector on the wire. Origins are folded long before (an alarm sounds above 64).
pub const VECTOR_ENTRIES_MAX: usize = 4_096;
/// An op's seq. Far beyond what an origin reaches, and far enough below 2^64 that sums of seqs stay in range.
pub const SEQ_MAX: u64 = 1 << 48;
/// An op's header, bytes: two vectors with the most entries, a request, and the ids that it lists.
pub const HEADER_BYTES_MAX: usize = 320 << 10;
/// The reason of a kick or a ban, bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// Kicks, bans and demotions of one user in one room; who has as many cannot join it any more.
pub const REVOCATIONS_PER_USER_MAX: usize = 64;
/// Roles given to one user in one room.
pub const GRANTS_PER_USER_MAX: usize = 64;
/// Invitations of one user that stand at a time, as far as a site knows. Leaving a room that one is not in declines one.
pub const INVITATIONS_PER_USER_MAX: usize = 100;
/// Users who ask to be let into one room at a time, as far as a site knows.
pub const KNOCKS_PER_ROOM_MAX: usize = 200;
/// Users that one message may name.
pub const MENTIONS_MAX: usize = 16;
/// Where counting a room's unread messages stops.
pub const UNREAD_MAX: u64 = 100;
/// What a list of rooms shows of a message's content, bytes.
pub const PREVIEW_BYTES_MAX: usize = 256;
/// Messages of which one query asks who has read them.
pub const READERS_IDS_MAX: usize = 100;
/// Users of whose presence one query asks.
pub const PRESENCE_USERS_MAX: usize = 100;
/// A datagram, bytes: below what every path carries.
pub const DATAGRAM_BYTES_MAX: usize = 512;
/// Who types says so in a datagram no more often than this, ms ...
pub const TYPING_EVERY_MS: u64 = 3_000;
/// ... and is taken to type for this long, ms: one lost datagram is not noticed.
pub const TYPING_LAPSE_MS: u64 = 6_000;
/// Who is there says so this often, ms.
pub const PRESENCE_EVERY_MS: u64 = 20_000;
/// Members of a room above which nobody counts who has read what.
pub const READERS_MEMBERS_MAX: usize = 500;
/// How far ahead of a site's clock a request's stamp may be, ms.
pub const STAMP_AHEAD_MAX_MS: u64 = 500;
/// How far a site's clock may be from the median of its peers' before it stops accepting, ms.
pub const CLOCK_SKEW_MAX_MS: u64 = 250;
/// Shards of a cluster where nothing else is configured. Set for life when the cluster is created.
pub const SHARD_COUNT_DEFAULT: u16 = 256;

/// Whether a text can be a reaction's symbol.
pub fn is_symbol(text: &str) -> bool {
    (1..=SYMBOL_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

const _: () = {
    assert!(BODY_BYTES_MAX + REQUEST_BYTES_MAX < FRAME_BYTES_MAX / 8, "a frame holds several of the largest messages");
    assert!(CONTENT_TYPE_BYTES_MAX + SALT_BYTES + 64 < BODY_BYTES_MAX - CONTENT_BYTES_MAX, "a body's envelope fits");
    assert!(2 * VECTOR_ENTRIES_MAX * 32 + REQUEST_BYTES_MAX < HEADER_BYTES_MAX, "a header's vectors fit");
    assert!(USER_BYTES_MAX + 64 < DATAGRAM_BYTES_MAX, "a datagram holds a room and a user");
    assert!(TYPING_EVERY_MS < TYPING_LAPSE_MS, "who goes on typing is not taken to have ended");
    assert!(NAME_BYTES_MAX + USER_BYTES_MAX < REQUEST_BYTES_MAX / 2, "a request's names fit");
    assert!(
        CLOCK_SKEW_MAX_MS < STAMP_AHEAD_MAX_MS,
        "a site in good standing has its clients' stamps accepted by others"
    );
};
