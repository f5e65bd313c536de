//! The SDK over QUIC: one task a client drives the session machine over quinn connections.

mod client;
mod config;
mod connector;
mod draft;
mod driver;
mod event;
mod handle;
mod history;
mod link;
mod members;
mod messages;
mod query;
mod reading;
mod rooms;
mod shared;

pub use client::Client;
pub use config::{Commit, Config, ConnectError, Refreshing, Status, TokenRefresh};
pub use connector::{Connector, ConnectorError};
pub use draft::Draft;
pub use event::{Change, ChangeKind, Event, Gap, Message, ProgressEvent};
#[cfg(test)]
pub(crate) use event::{of_delivery, of_history};
pub use handle::{Handle, Refusal, Stored};
pub use history::{Direction, HistoryPage};
pub use members::{Member, MembersPage, Presence, ReadBy};
pub use query::HistoryError;

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod loopback_tests;
