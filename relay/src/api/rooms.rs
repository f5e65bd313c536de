//! Rooms: made, named, joined, left.

use axum::response::Response;
use causeway_protocol::{Code, Role, wire, wire::request::Kind};
use serde::Deserialize;

use super::extract::{Body, Place, Room, User};
use super::problem::Problem;
use super::submit::Change;

/// The room of a path.
#[derive(Deserialize)]
pub struct InRoom {
    pub room: Room,
}

/// A new room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRoom {
    name: String,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    channel: bool,
}

/// A room's name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    name: String,
}

/// Makes a room.
pub async fn create(change: Change, Body(new): Body<NewRoom>) -> Result<Response, Problem> {
    let NewRoom { name, open, channel } = new;
    let room = change.new_room();
    change.carry_out(room, Kind::Create(wire::Create { name, open, channel, ..Default::default() }), None).await
}

/// The other user of a direct room.
#[derive(Deserialize)]
pub struct With {
    pub user: User,
}

/// Makes the direct room with somebody, or makes sure that it is there.
pub async fn create_direct(change: Change, Place(With { user }): Place<With>) -> Result<Response, Problem> {
    let room = change.direct_room(&user.0);
    let create = wire::Create { direct: user.0.as_str().to_owned(), ..Default::default() };
    change.carry_out(room, Kind::Create(create), None).await
}

/// Names it anew.
pub async fn set_name(
    change: Change,
    Place(place): Place<InRoom>,
    Body(Name { name }): Body<Name>,
) -> Result<Response, Problem> {
    change.carry_out(place.room.0, Kind::SetName(wire::SetName { name }), None).await
}

/// What changes of a room's profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    topic: Option<String>,
    avatar: Option<String>,
    open: Option<bool>,
    writers: Option<String>,
    retention_ms: Option<u64>,
    knock: Option<bool>,
}

/// Changes its profile.
pub async fn set_profile(
    change: Change,
    Place(place): Place<InRoom>,
    Body(Profile { topic, avatar, open, writers, retention_ms, knock }): Body<Profile>,
) -> Result<Response, Problem> {
    let writers = writers.map(|role| role.parse::<Role>()).transpose();
    let writers = writers.map_err(|e| Problem::of(Code::Malformed, format!("writers: {e}")))?.map(Role::number);
    let set = wire::SetProfile { topic, avatar, open, writers, retention_ms, knock };
    change.carry_out(place.room.0, Kind::SetProfile(set), None).await
}

/// Joins it.
pub async fn join(change: Change, Place(place): Place<InRoom>) -> Result<Response, Problem> {
    change.carry_out(place.room.0, Kind::Join(wire::Join {}), None).await
}

/// Asks to be let in.
pub async fn knock(change: Change, Place(place): Place<InRoom>) -> Result<Response, Problem> {
    change.carry_out(place.room.0, Kind::Knock(wire::Knock {}), None).await
}

/// Leaves it, and takes away all that the user wrote there.
pub async fn erase(change: Change, Place(place): Place<InRoom>) -> Result<Response, Problem> {
    change.carry_out(place.room.0, Kind::Erase(wire::Erase {}), None).await
}

/// Does so in every room that the user was ever in.
pub async fn erase_everywhere(change: Change) -> Result<Response, Problem> {
    let room = change.own_room();
    change.carry_out(room, Kind::Erase(wire::Erase {}), None).await
}

/// Leaves it.
pub async fn leave(change: Change, Place(place): Place<InRoom>) -> Result<Response, Problem> {
    change.carry_out(place.room.0, Kind::Leave(wire::Leave {}), None).await
}
