//! A small messenger in a terminal, to watch a site die and the conversation go on.
//!
//! ```text
//! cargo run --release -p causeway-client --example chat -- --sites 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 \
//!     --ca dev/ca.pem --user ann
//! cargo run --release -p causeway-client --example chat -- --sites … --ca dev/ca.pem --user bob --room ROOM
//! ```
//!
//! At the left are the rooms with their unread messages; Tab and Shift-Tab go through them, `/new lunch` makes one, `/join
//! ROOM` enters one. Beside each own message: `…` in the outbox, `✓` fsynced at one site, `✓✓` safe against the loss of a
//! site, `⏸` refused for now and waiting, `✗` refused; and how many have not read it. Enter sends, Page Up fetches
//! older messages, Esc leaves. Messages are numbered: `/re 3 text` answers the third, `/edit 3 text` edits it, `/gone 3`
//! takes it away, `/+ 3 👍` reacts to it and `/- 3 👍` takes that back. Who has a role that allows it: `/invite bob`,
//! `/role bob moderator`, `/kick bob noise`, `/ban bob noise`, `/unban bob`, `/name dinner`, `/keep 3600` (seconds, from then
//! on). Invitations stand below the rooms: `/accept` and `/decline` answer the newest.

mod chat;
mod commands;
mod keyboard;
mod questions;
mod room;
mod screen;

use std::path::PathBuf;

use anyhow::Context as _;
use causeway_client::store::{FileStore, MemoryStore, Store, Sync};
use causeway_client::{Client, Config, Connector, RoomId, SiteConfig, Standby, UserId};
use clap::Parser;

use chat::Chat;

/// A small messenger over Causeway.
#[derive(Parser)]
struct Options {
    /// Sites as host:port, separated by commas; the first is the preferred home.
    #[arg(long, value_delimiter = ',', required = true)]
    sites: Vec<String>,
    /// PEM file with the roots of trust.
    #[arg(long)]
    ca: PathBuf,
    /// Who you are.
    #[arg(long)]
    user: String,
    /// A token, where the sites want one: see `causeway-relay token`.
    #[arg(long, env = "CAUSEWAY_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// A room to join: 32 hexadecimal digits. Without it you see the rooms that you have.
    #[arg(long)]
    room: Option<String>,
    /// Make a room of this name instead.
    #[arg(long, conflicts_with = "room")]
    create: Option<String>,
    /// The name in the sites' certificates; without it the host of the address.
    #[arg(long)]
    server_name: Option<String>,
    /// Keep outbox and cursors in this file, so that nothing typed is lost.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Hold no standby connection.
    #[arg(long)]
    cold: bool,
    /// Tell nobody that you are there, nor that you type.
    #[arg(long)]
    unseen: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let client = connect(&options).await?;
    let room = first_room(&client, &options)?;
    let mut chat = Chat::new(client, options.user, room);
    let mut terminal = ratatui::init();
    let ended = chat.run(&mut terminal).await;
    ratatui::restore();
    if let Some(room) = chat.close().await {
        println!("room {room}");
    }
    ended
}

async fn connect(options: &Options) -> anyhow::Result<Client> {
    let pem = std::fs::read(&options.ca).with_context(|| format!("cannot read {}", options.ca.display()))?;
    let mut connector = Connector::new(Connector::roots_of_pem(&pem)?)?;
    if let Some(name) = &options.server_name {
        connector = connector.server_name(name);
    }
    let site = |address: &String| SiteConfig { name: String::new(), addresses: vec![address.clone()] };
    let sites = options.sites.iter().map(site).collect();
    let store: Box<dyn Store> = match &options.store {
        Some(path) => Box::new(FileStore::open(path, Sync::Disk)?),
        None => Box::new(MemoryStore::new()),
    };
    let user = UserId::new(&options.user).context("--user")?;
    let mut config = Config::new(user, sites, connector).token(options.token.clone()).presence(!options.unseen);
    config.store = store;
    config.session.standby = if options.cold { Standby::Cold } else { Standby::Warm };
    Client::connect(config).await.context("no site would have us")
}

/// The room to begin with, where the options name one.
fn first_room(client: &Client, options: &Options) -> anyhow::Result<Option<RoomId>> {
    if let Some(room) = &options.room {
        let room = RoomId::parse(room).context("--room")?;
        client.join(room)?;
        return Ok(Some(room));
    }
    let Some(name) = &options.create else { return Ok(None) };
    Ok(Some(client.create_room(name, true)?.0))
}
