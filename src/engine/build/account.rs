//! Users and groups of a file system: `name`, `uid`, `name:group` of `USER` and `--chown` become numbers. The files
//! are the image's own, so they are read with bounds.

use std::io::Read as _;

use crate::engine::base::{Error, Result};
use crate::sys::rooted::Root;

const FILE_MAX_BYTES: u64 = 4 << 20;

/// A user as the kernel needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) home: String,
}

fn rows(root: &Root, path: &[u8]) -> Vec<Vec<String>> {
    let mut text = Vec::new();
    let read = root
        .open_file(path)
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut text));
    // No such file, or none that can be read: nobody is in it.
    if read.is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&text)
        .lines()
        .map(|line| {
            line.split(':')
                .map(|field| field.trim().to_owned())
                .collect()
        })
        .collect()
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id < u32::MAX)
}

/// `user[:group]` as in `USER`; empty is root.
pub(crate) fn resolve(root: &Root, text: &str) -> Result<Account> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let users = rows(root, b"etc/passwd");
    let groups = rows(root, b"etc/group");
    let field = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
    let entry = users.iter().find(|row| field(row, 0) == user).or_else(|| {
        users
            .iter()
            .find(|row| number(user).is_some() && field(row, 2) == user)
    });
    let (uid, own_gid, home, name) = match (entry, number(user)) {
        (Some(row), _) => (
            number(&field(row, 2)).unwrap_or(0),
            number(&field(row, 3)).unwrap_or(0),
            field(row, 5),
            Some(field(row, 0)),
        ),
        (None, Some(uid)) => (uid, 0, String::new(), None),
        (None, None) => {
            return Err(Error::invalid(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    let gid = match group {
        None | Some("") => own_gid,
        Some(group) => group_id(&groups, group)?,
    };
    let additional_gids = match (&name, group) {
        (Some(name), None | Some("")) => groups
            .iter()
            .filter(|row| field(row, 3).split(',').any(|member| member == name))
            .filter_map(|row| number(&field(row, 2)))
            .filter(|other| *other != gid)
            .collect(),
        _ => Vec::new(),
    };
    let home = match home.is_empty() {
        true if uid == 0 => "/root".to_owned(),
        true => "/".to_owned(),
        false => home,
    };
    Ok(Account {
        uid,
        gid,
        additional_gids,
        home,
    })
}

fn group_id(groups: &[Vec<String>], group: &str) -> Result<u32> {
    groups
        .iter()
        .find(|row| row.first().is_some_and(|name| name == group))
        .and_then(|row| number(row.get(2)?))
        .or_else(|| number(group))
        .ok_or_else(|| {
            Error::invalid(format!(
                "unable to find group {group}: no matching entries in group file"
            ))
        })
}

/// `--chown=user[:group]`: without a group it is the number of the user, as in BuildKit.
pub(crate) fn resolve_owner(root: &Root, text: &str) -> Result<(u32, u32)> {
    let account = resolve(root, text)?;
    Ok((account.uid, account.gid))
}
