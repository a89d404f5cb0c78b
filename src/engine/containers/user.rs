//! The user of a process: names of the image's own passwd and group files become numbers. Pure; the files
//! are read by `rootfs`.

use crate::engine::base::{Error, Result};
use crate::oci::runtime_spec::UserSpec;

/// The text of `/etc/passwd` and `/etc/group`, empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) passwd: String,
    pub(crate) group: String,
}

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    pub(crate) spec: UserSpec,
    /// `/root` or what passwd says; `/` when it says nothing.
    pub(crate) home: String,
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        Some(PasswdEntry {
            name: fields.first().filter(|name| !name.is_empty())?,
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
            home: fields.get(5).copied().unwrap_or(""),
        })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        Some(GroupEntry {
            name: fields.first().filter(|name| !name.is_empty())?,
            gid: fields.get(2)?.parse().ok()?,
            members: fields.get(3).unwrap_or(&"").split(',').collect(),
        })
    })
}

/// `""`, `user`, `uid`, `user:group`, `uid:gid`, as Docker resolves them; `further` are groups to add.
pub(crate) fn resolve(user: &str, further: &[String], accounts: &Accounts) -> Result<ResolvedUser> {
    let (user_part, group_part) = user.split_once(':').unwrap_or((user, ""));
    let wanted_uid: Option<u32> = match user_part {
        "" => Some(0),
        text => text.parse().ok(),
    };
    let entry = passwd_entries(&accounts.passwd)
        .find(|entry| entry.name == user_part || Some(entry.uid) == wanted_uid);
    let (uid, mut gid, home) = match (&entry, wanted_uid) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home.to_owned()),
        (None, Some(uid)) => (uid, 0, String::new()),
        (None, None) => {
            return Err(Error::system(format!(
                "unable to find user {user_part}: no matching entries in passwd file"
            )));
        }
    };
    let mut additional_gids = Vec::new();
    if group_part.is_empty() {
        let name = entry.as_ref().map_or("", |entry| entry.name);
        additional_gids.extend(
            group_entries(&accounts.group)
                .filter(|group| !name.is_empty() && group.members.contains(&name))
                .map(|group| group.gid),
        );
    } else {
        gid = find_group(group_part, accounts)?;
    }
    for group in further {
        additional_gids.push(find_group(group, accounts)?);
    }
    // The main group is also a supplementary one: a program that drops groups selectively relies on it.
    if !additional_gids.contains(&gid) {
        additional_gids.insert(0, gid);
    }
    let home = match (home.is_empty(), uid) {
        (false, _) => home,
        (true, 0) if entry.is_none() => "/root".to_owned(),
        (true, _) => "/".to_owned(),
    };
    Ok(ResolvedUser {
        spec: UserSpec {
            uid,
            gid,
            additional_gids,
        },
        home,
    })
}

fn find_group(group: &str, accounts: &Accounts) -> Result<u32> {
    let number: Option<u32> = group.parse().ok();
    group_entries(&accounts.group)
        .find(|entry| entry.name == group)
        .map(|entry| entry.gid)
        .or(number)
        .ok_or_else(|| {
            Error::system(format!(
                "unable to find group {group}: no matching entries in group file"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\n\nweb:x:33:34::/srv:/bin/sh\nbroken\n"
                .to_owned(),
            group: "root:x:0:root\nbin:x:1:root,web\nstaff:x:50:\n".to_owned(),
        }
    }

    #[test]
    fn names_and_numbers() {
        let cases: [(&str, u32, u32, &[u32], &str); 7] = [
            ("", 0, 0, &[0, 1], "/root"),
            ("web", 33, 34, &[34, 1], "/srv"),
            ("33", 33, 34, &[34, 1], "/srv"),
            ("web:staff", 33, 50, &[50], "/srv"),
            ("1000", 1000, 0, &[0], "/"),
            ("1000:1000", 1000, 1000, &[1000], "/"),
            ("root:50", 0, 50, &[50], "/root"),
        ];
        for (user, uid, gid, groups, home) in cases {
            let resolved = resolve(user, &[], &accounts()).unwrap();
            assert_eq!((resolved.spec.uid, resolved.spec.gid), (uid, gid), "{user}");
            assert_eq!(resolved.spec.additional_gids, groups, "{user}");
            assert_eq!(resolved.home, home, "{user}");
        }
        let added = resolve("web", &["staff".to_owned(), "7".to_owned()], &accounts()).unwrap();
        assert_eq!(added.spec.additional_gids, [34, 1, 50, 7]);
        assert_eq!(
            resolve("", &[], &Accounts::default()).unwrap().home,
            "/root"
        );
    }

    #[test]
    fn unknown_names_are_named() {
        let error = resolve("nobody", &[], &accounts()).unwrap_err();
        assert!(error.message.contains("unable to find user nobody"));
        let error = resolve("web:nogroup", &[], &accounts()).unwrap_err();
        assert!(error.message.contains("unable to find group nogroup"));
    }
}
