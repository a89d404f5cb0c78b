//! The short form of a service's volume, `source:target:options`, and the plain cleaning of paths.

use crate::compose::model::{BindOptions, ServiceVolume, VolumeOptions};

/// Parses `[source:]target[:options]`. Variables that are still in it are kept whole.
///
/// # Errors
/// An empty text, an empty part, or too many parts.
pub(crate) fn parse_volume(spec: &str) -> Result<ServiceVolume, String> {
    let mut volume = ServiceVolume::default();
    match spec.len() {
        0 => return Err("invalid empty volume spec".to_owned()),
        1 | 2 => {
            volume.target = spec.to_owned();
            volume.kind = "volume".to_owned();
            return Ok(volume);
        }
        _ => {}
    }
    let mut buffer = String::new();
    let mut nesting = 0usize;
    for (at, c) in spec.char_indices() {
        if c == '$' && spec[at + 1..].starts_with('{') {
            nesting += 1;
            buffer.push(c);
        } else if c == '}' && nesting > 0 {
            nesting -= 1;
            buffer.push(c);
        } else if is_windows_drive(&buffer, c) {
            buffer.push(c);
        } else if (c == ':' || c == '\0') && nesting == 0 {
            populate(&mut volume, &buffer, c == '\0')
                .map_err(|error| format!("invalid spec: {spec}: {error}"))?;
            buffer.clear();
        } else {
            buffer.push(c);
        }
    }
    if nesting == 0 {
        populate(&mut volume, &buffer, true)
            .map_err(|error| format!("invalid spec: {spec}: {error}"))?;
    }
    populate_kind(&mut volume);
    Ok(volume)
}

fn is_windows_drive(buffer: &str, c: char) -> bool {
    let mut chars = buffer.chars();
    c == ':' && chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
}

fn populate(volume: &mut ServiceVolume, part: &str, last: bool) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("empty section between colons");
    }
    if volume.source.is_empty() {
        if last {
            part.clone_into(&mut volume.target);
        } else {
            part.clone_into(&mut volume.source);
        }
        return Ok(());
    }
    if volume.target.is_empty() {
        part.clone_into(&mut volume.target);
        return Ok(());
    }
    if !last {
        return Err("too many colons");
    }
    for option in part.split(',') {
        match option {
            "ro" => volume.read_only = true,
            "rw" => volume.read_only = false,
            "nocopy" => {
                volume.volume = Some(Box::new(VolumeOptions {
                    nocopy: true,
                    ..VolumeOptions::default()
                }));
            }
            "z" | "Z" => option.clone_into(&mut bind(volume).selinux),
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                option.clone_into(&mut bind(volume).propagation);
            }
            _ => {}
        }
    }
    Ok(())
}

fn bind(volume: &mut ServiceVolume) -> &mut BindOptions {
    volume.bind.get_or_insert_default()
}

fn populate_kind(volume: &mut ServiceVolume) {
    if is_file_path(&volume.source) {
        volume.kind = "bind".to_owned();
        bind(volume).create_host_path = true;
    } else {
        volume.kind = "volume".to_owned();
        volume.volume.get_or_insert_default();
    }
}

fn is_file_path(source: &str) -> bool {
    let mut chars = source.chars();
    match chars.next() {
        None => false,
        Some('.' | '/' | '~') => true,
        Some(_) if source.starts_with("\\\\") => true,
        Some(first) => first.is_alphabetic() && chars.next() == Some(':'),
    }
}

/// A slash-separated path without `.`, `..` and repeated slashes, as Go's `path.Clean`.
pub(crate) fn clean_path(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// Joins two paths and cleans the result; empty parts are left out.
pub(crate) fn join_path(base: &str, path: &str) -> String {
    match (base.is_empty(), path.is_empty()) {
        (true, true) => String::new(),
        (true, false) => clean_path(path),
        (false, true) => clean_path(base),
        (false, false) => clean_path(&format!("{base}/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_short_volumes() {
        let show = |spec| {
            parse_volume(spec).map_or_else(
                |error| error,
                |v| format!("{} {} {} {}", v.kind, v.source, v.target, v.read_only),
            )
        };
        assert_eq!(show("/data"), "volume  /data false");
        assert_eq!(show("db:/data:ro"), "volume db /data true");
        assert_eq!(show("./a:/b"), "bind ./a /b false");
        assert_eq!(show("C:\\x:/b"), "bind C:\\x /b false");
        assert_eq!(show("${A:-x}:/b"), "volume ${A:-x} /b false");
        assert_eq!(
            show("aa::b"),
            "invalid spec: aa::b: empty section between colons"
        );
        assert_eq!(
            show("/x:/y:ro:c"),
            "invalid spec: /x:/y:ro:c: too many colons"
        );
    }

    #[test]
    fn cleans_as_go() {
        for (path, clean) in [
            ("", "."),
            ("/a/../b/", "/b"),
            ("./x", "x"),
            ("../../a", "../../a"),
            ("a/..", "."),
            ("/..", "/"),
        ] {
            assert_eq!(clean_path(path), clean);
        }
        assert_eq!(join_path(".", "./data"), "data");
    }
}
