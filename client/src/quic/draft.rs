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
    ///
    /// # Example
    /// ```
    /// use causeway_client::Draft;
    ///
    /// let draft = Draft::new("application/json", r#"{"sticker": 7}"#);
    /// ```
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
    ///
    /// # Example
    /// ```
    /// use causeway_client::Draft;
    ///
    /// assert_eq!(Draft::text("noodles?"), Draft::new("text/plain", "noodles?"));
    /// ```
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain", text.into())
    }

    /// It answers this message.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Draft;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let question = ann.send(room, "text/plain", "noodles?")?;
    /// ann.post(room, Draft::text("soup.").reply_to(question.id()))?.stored().await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn reply_to(mut self, id: RequestId) -> Self {
        self.reply_to = Some(id);
        self
    }

    /// It names this user, who finds it among the mentions of the room. At most 16 users.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Draft, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// ann.post(room, Draft::text("@bob: noodles?").mention(UserId::new("bob")?))?.stored().await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.push(user);
        self
    }

    /// Its content goes at every site so long after it was accepted: a second to ten years, in whole ms. Where the room
    /// keeps contents for a shorter time, that holds.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Draft;
    /// use std::time::Duration;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let secret = Draft::text("the code is 1234").lifetime(Duration::from_secs(3_600));
    /// ann.post(room, secret)?.stored().await?;
    /// # assert!(causeway_tests::until_message(&ann, "the code is 1234").await?.expires_ms.is_some());
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }
}
