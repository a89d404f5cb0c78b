//! Lists of images and the history of one: filters and what they mean. It changes nothing.

use crate::engine::base::sync::lock;
use crate::engine::base::{Error, Result};
use crate::engine::images::{HistoryEntry, Image, ImageFilters, Images};
use crate::oci::Digest;

/// Seconds since the epoch of an RFC 3339 time; 0 when there is none.
pub(crate) fn unix_seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>()
        .map_or(0, |time| time.as_second().max(0))
}

impl Images {
    /// Newest first.
    pub(crate) fn list(&self, filters: &ImageFilters) -> Result<Vec<Image>> {
        let mut images = self.matching(filters)?;
        images.sort_by_cached_key(|image| {
            (
                std::cmp::Reverse(unix_seconds(&image.created)),
                image.id.clone(),
            )
        });
        Ok(images)
    }

    fn matching(&self, filters: &ImageFilters) -> Result<Vec<Image>> {
        let created = |names: &[String]| -> Result<Vec<i64>> {
            names
                .iter()
                .map(|name| Ok(unix_seconds(&self.resolve(name)?.created)))
                .collect()
        };
        let before = created(&filters.before)?.into_iter().min();
        let since = created(&filters.since)?.into_iter().max();
        let state = lock(&self.state);
        let mut ids: Vec<Digest> = state.images.keys().cloned().collect();
        ids.sort();
        let parents: std::collections::HashSet<&Digest> = state
            .images
            .values()
            .filter_map(|known| known.record.parent.as_ref())
            .collect();
        let mut found = Vec::new();
        for id in &ids {
            let mut image = self.view(&state, id)?;
            let is_dangling = image.repo_tags.is_empty() && image.repo_digests.is_empty();
            let is_intermediate = is_dangling && parents.contains(id);
            let moment = unix_seconds(&image.created);
            let shown = (filters.all || !is_intermediate)
                && filters.dangling.is_none_or(|wanted| wanted == is_dangling)
                && before.is_none_or(|before| moment < before)
                && since.is_none_or(|since| moment > since)
                && filters.until.is_none_or(|until| moment < until)
                && matches_labels(&image, filters);
            if shown && keep_references(&mut image, &filters.references)? {
                found.push(image);
            }
        }
        Ok(found)
    }

    /// Newest first.
    pub(crate) fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.resolve(name)?;
        let mut chain = image.chain.iter();
        let mut entries = Vec::new();
        for step in &image.config.history {
            let size = if step.empty_layer {
                0
            } else {
                chain
                    .next()
                    .and_then(|chain_id| self.layers.get(chain_id))
                    .map_or(0, |layer| layer.size)
            };
            entries.push(HistoryEntry {
                id: None,
                created: unix_seconds(step.created.as_deref().unwrap_or_default()),
                created_by: step.created_by.clone(),
                comment: step.comment.clone(),
                tags: Vec::new(),
                size,
            });
        }
        entries.reverse();
        if let Some(first) = entries.first_mut() {
            first.id = Some(image.id);
            first.tags = image.repo_tags;
        }
        Ok(entries)
    }
}

fn matches_labels(image: &Image, filters: &ImageFilters) -> bool {
    let has = |wanted: &String| has_label(&image.config.config.labels, wanted);
    filters.labels.iter().all(has) && !filters.labels_not.iter().any(has)
}

/// `key`, or `key=value`.
pub(crate) fn has_label(labels: &std::collections::BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    }
}

/// Leaves the names that match a pattern; false when none does.
fn keep_references(image: &mut Image, patterns: &[String]) -> Result<bool> {
    if patterns.is_empty() {
        return Ok(true);
    }
    let patterns = patterns
        .iter()
        .map(|pattern| Pattern::new(pattern))
        .collect::<Result<Vec<_>>>()?;
    let matches = |name: &String| patterns.iter().any(|pattern| pattern.matches(name));
    image.repo_tags.retain(matches);
    image.repo_digests.retain(matches);
    Ok(!image.repo_tags.is_empty() || !image.repo_digests.is_empty())
}

/// A pattern of Go's `path.Match` against the whole name, the name without tag, and the last components.
struct Pattern {
    regex: regex::Regex,
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self> {
        let regex = glob_regex(pattern)
            .and_then(|text| regex::Regex::new(&text).ok())
            .ok_or_else(|| Error::invalid(format!("invalid filter 'reference={pattern}'")))?;
        Ok(Pattern { regex })
    }

    fn matches(&self, name: &str) -> bool {
        let untagged = match name.split_once('@') {
            Some((untagged, _)) => untagged,
            None => match name.rfind(':') {
                Some(at) if !name[at..].contains('/') => &name[..at],
                _ => name,
            },
        };
        self.regex.is_match(name) || self.regex.is_match(untagged)
    }
}

/// `*` and `?` do not cross a slash; `[a-z]` and `\x` as in Go.
pub(crate) fn glob_regex(pattern: &str) -> Option<String> {
    let mut regex = String::from("^");
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                let mut class = String::new();
                loop {
                    match chars.next()? {
                        ']' if !class.is_empty() => break,
                        '\\' => {
                            class.push('\\');
                            class.push(chars.next()?);
                        }
                        '[' => class.push_str("\\["),
                        '&' => class.push_str("\\&"),
                        '~' => class.push_str("\\~"),
                        other => class.push(other),
                    }
                }
                regex.push('[');
                regex.push_str(&class);
                regex.push(']');
            }
            '\\' => regex.push_str(&regex::escape(&chars.next()?.to_string())),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    Some(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_as_docker_does() {
        for (pattern, name, expected) in [
            ("redis", "redis:7", true),
            ("redis:*", "redis:7", true),
            ("red*", "redis:7", true),
            ("*", "a/b:1", false),
            ("*/*", "a/b:1", true),
            ("redis:8", "redis:7", false),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:1", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).unwrap().matches(name),
                expected,
                "{pattern} {name}"
            );
        }
        assert!(Pattern::new("[").is_err());
    }
}
