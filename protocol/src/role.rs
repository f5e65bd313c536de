//! Roles of a room's members: docs/RIGHTS.md says who may do what.

use std::fmt;
use std::str::FromStr;

/// What a member of a room is, from the least to the highest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// Reads; the role of who joins a channel.
    Reader = 1,
    /// Reads and writes; the role of who joins a group.
    Member = 2,
    /// Keeps order: kicks, bans.
    Moderator = 3,
    /// Gives roles.
    Admin = 4,
    /// May do everything; the creator.
    Owner = 5,
}

impl Role {
    /// All of them, from the least to the highest.
    pub const ALL: [Role; 5] = [Role::Reader, Role::Member, Role::Moderator, Role::Admin, Role::Owner];

    /// Its number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// Of a number on the wire.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.number() == number)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Member => "member",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownRole(String);

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no role: use reader, member, moderator, admin or owner", self.0)
    }
}

impl std::error::Error for UnknownRole {}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_its_number_and_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::from_number(role.number()), Some(role));
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!((Role::from_number(0), Role::from_number(6)), (None, None));
        let error = "king".parse::<Role>().unwrap_err().to_string();
        assert_eq!(error, "\"king\" is no role: use reader, member, moderator, admin or owner");
        assert!(Role::ALL.is_sorted());
    }
}
