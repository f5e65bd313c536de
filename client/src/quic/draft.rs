//! A message to be.

use std::time::Duration;

use causeway_protocol::{Bytes, RequestId, UserId};

/// A message to be sent with [`crate::Client::post`].
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub(super) content_type: String,
    pub(super) content: Bytes,
    pub(super) reply_to: Option<RequestId>,
    pub(super) mentions: Vec<UserId>,
    pub(super) lifetime: Option<Duration>,
}

impl Draft {
    /// With a media type and a content, opaque to the sites, of at most 64 KiB.
    pub fn new(content_type: &str, content: impl Into<Bytes>) -> Self {
        Self {
            content_type: content_type.to_owned(),
            content: content.into(),
            reply_to: None,
            mentions: Vec::new(),
            lifetime: None,
        }
    }

    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain", text.into())
    }

    /// It answers this message.
    #[must_use]
    pub fn reply_to(mut self, id: RequestId) -> Self {
        self.reply_to = Some(id);
        self
    }

    /// It names this user, who finds it among the mentions of the room. At most 16 users.
    #[must_use]
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.push(user);
        self
    }

    /// Its content goes at every site so long after it was accepted: a second to ten years, in whole ms. Where the room
    /// keeps contents for a shorter time, that holds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}
