//! The Causeway client SDK: a sans-IO session machine and its QUIC driver.
//!
//! [`Client`] is what an application uses: it connects to several sites, sends, hands out events, and moves between
//! sites by itself. What it decides is in [`machine`], which touches no socket, clock or file and is what the
//! simulator runs; what survives a restart is behind [`store::Store`].
//!
//! ```
//! use causeway_client::{Client, Config, Connector, Event, UserId};
//!
//! # causeway_tests::example(async |site| {
//! # let (ca, sites, token) = (std::fs::read(site.ca())?, site.sites(), site.token("ann")?);
//! let connector = Connector::new(Connector::roots_of_pem(&ca)?)?;
//! let client = Client::connect(Config::new(UserId::new("ann")?, sites, connector).token(token)).await?;
//! let (room, _) = client.create_room("lunch", true)?;
//! let handle = client.send(room, "text/plain", "noodles?")?;
//! println!("fsynced at site {}", handle.stored().await?.site);
//! println!("safe against the loss of a site: {:?}", handle.replicated().await?);
//! while let Some(event) = client.next_event().await {
//!     if let Event::Message(message) = event {
//!         println!("{}: {}", message.user, String::from_utf8_lossy(&message.content));
//!         # break;
//!     }
//! }
//! # Ok(()) });
//! ```
//!
//! Every example of this documentation runs in the tests, against a relay on loopback.

#![forbid(unsafe_code)]

pub mod machine;
pub mod store;

#[cfg(feature = "quic")]
mod quic;
#[cfg(feature = "quic")]
pub mod timeline;

pub use causeway_protocol::{Code, Dot, RequestId, Role, RoomId, SiteId, UnknownRole, UserId, Vector};
pub use machine::{
    Durability, Invitation, Limits, MoveReason, Preview, ProfileChange, RoomView, SendError, SiteConfig, Standby,
    Timing,
};

#[cfg(feature = "quic")]
pub use quic::{
    Change, ChangeKind, Client, Commit, Config, ConnectError, Connector, ConnectorError, Direction, Draft, Event, Gap,
    Handle, HistoryError, HistoryPage, Member, MembersPage, Message, Presence, ProgressEvent, ReadBy, Refreshing,
    Refusal, Status, Stored, TokenRefresh,
};
