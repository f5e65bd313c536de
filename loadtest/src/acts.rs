//! What clients asked for besides messages, and what sites say was done: edits, redactions, reactions, joins, leaves,
//! names.

use causeway_protocol::RequestId;

/// Something that a client asked for. Messages are named by their numbers in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Another content for an own message.
    Edit {
        /// The message.
        target: u32,
        /// Of the content: [`crate::stamp::digest`].
        digest: u64,
    },
    /// No content any more for an own message.
    Redact {
        /// The message.
        target: u32,
    },
    /// A reaction.
    React {
        /// The message.
        target: u32,
        /// With what.
        symbol: Box<str>,
    },
    /// A reaction taken back.
    Unreact {
        /// The message.
        target: u32,
        /// Which.
        symbol: Box<str>,
    },
    /// To be a member.
    Join,
    /// To be none any more.
    Leave,
    /// Another name for the room.
    Name(Box<str>),
}

impl What {
    /// The message that it changes.
    pub fn target(&self) -> Option<u32> {
        match self {
            What::Edit { target, .. }
            | What::Redact { target }
            | What::React { target, .. }
            | What::Unreact { target, .. } => Some(*target),
            What::Join | What::Leave | What::Name(_) => None,
        }
    }
}

/// A request of a run that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Index of its room.
    pub room: u32,
    /// The client that sent it.
    pub client: u32,
    /// When it was meant to be sent, microseconds since the run's start.
    pub intended_us: u64,
    /// What it asks for.
    pub what: What,
    /// Its identity and place, as the SDK said.
    pub id: RequestId,
    /// The message that it names, by the id that the message had then.
    pub aimed: Option<RequestId>,
    /// Ack 1 came.
    pub stored: bool,
    /// Ack 2 came.
    pub replicated: bool,
    /// It was refused for good, with this code.
    pub refused: Option<u32>,
}

impl Act {
    /// Whether somebody promised to keep it.
    pub fn is_acked(&self) -> bool {
        self.stored || self.replicated
    }

    /// Whether nobody knows what became of it.
    pub fn is_open(&self) -> bool {
        !self.is_acked() && self.refused.is_none()
    }
}

/// What a site says that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Gave a message another content: of this digest, or the body is gone.
    Edit {
        /// The message.
        target: RequestId,
        /// Of the content; `None` where the body is gone.
        digest: Option<u64>,
    },
    /// Took a message's content away.
    Redact(RequestId),
    /// Reacted to a message.
    React(RequestId, Box<str>),
    /// Took a reaction back.
    Unreact(RequestId, Box<str>),
    /// Became a member.
    Join,
    /// Is none any more.
    Leave,
    /// Named the room.
    Name(Box<str>),
    /// Something that a run does not ask for but in its setup.
    Other,
}

/// A change as a site's history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRead {
    /// Its place.
    pub id: RequestId,
    /// The client that did it; `None` for somebody who is no client of the run.
    pub by: Option<u32>,
    /// What.
    pub did: Did,
}

impl ChangeRead {
    /// Whether it is this act, as it was asked for. Bodies of edits may be gone: others judge whether they had to go.
    pub fn is(&self, act: &Act) -> bool {
        let aimed = |target: &RequestId| act.aimed == Some(*target);
        self.by == Some(act.client)
            && match (&self.did, &act.what) {
                (Did::Edit { target, digest }, What::Edit { digest: sent, .. }) => {
                    aimed(target) && digest.is_none_or(|d| d == *sent)
                }
                (Did::Redact(target), What::Redact { .. }) => aimed(target),
                (Did::React(target, with), What::React { symbol, .. })
                | (Did::Unreact(target, with), What::Unreact { symbol, .. }) => aimed(target) && with == symbol,
                (Did::Join, What::Join) | (Did::Leave, What::Leave) => true,
                (Did::Name(name), What::Name(asked)) => name == asked,
                _ => false,
            }
    }
}
