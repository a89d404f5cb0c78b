//! What `!reset` and `!override` do to the files merged before: the tagged keys are removed there.

use crate::compose::node::{Map, Value};
use crate::compose::yaml::ResetPath;

/// Removes every key of `map` that one of the paths names; `prefix` is where the map stands.
pub(crate) fn apply(map: &mut Map, paths: &[ResetPath], prefix: &[&str]) {
    if paths.is_empty() {
        return;
    }
    let rest: Vec<&[String]> = paths
        .iter()
        .filter_map(|path| {
            let fits = path.len() > prefix.len()
                && prefix
                    .iter()
                    .zip(path)
                    .all(|(here, part)| part == "*" || part == here);
            fits.then(|| &path[prefix.len()..])
        })
        .collect();
    remove(map, &rest);
}

fn remove(map: &mut Map, paths: &[&[String]]) {
    if paths.is_empty() {
        return;
    }
    map.retain(|key, _| {
        !paths
            .iter()
            .any(|path| path.len() == 1 && (path[0] == "*" || path[0] == **key))
    });
    for (key, value) in map.iter_mut() {
        // Inside lists the tags have no effect on earlier files.
        let Value::Map(inner) = &mut value.value else {
            continue;
        };
        let below: Vec<&[String]> = paths
            .iter()
            .filter(|path| path.len() > 1 && (path[0] == "*" || path[0] == **key))
            .map(|path| &path[1..])
            .collect();
        remove(inner, &below);
    }
}
