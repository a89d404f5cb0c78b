//! YAML as go-yaml reads and writes it: text → [`Node`] tree with places, and values → text.
//! Knows nothing of Compose but its two tags, `!reset` and `!override`.

mod decode;
mod emit;
mod encoding;
mod parse;
mod reset;
mod scalar;
mod timestamp;

pub(crate) use emit::to_yaml;
pub(crate) use encoding::decode_text;
pub(crate) use reset::ResetPath;
pub(crate) use timestamp::Timestamp;

use crate::compose::node::Node;
use crate::compose::source::{FileId, Span};

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// `None` for an empty document, `Some(null)` never.
    pub(crate) root: Option<Node>,
    /// Where `!reset` and `!override` stand.
    pub(crate) resets: Vec<ResetPath>,
}

/// Why a text is no YAML that Compose reads.
#[derive(Debug)]
pub(crate) struct YamlError {
    pub(crate) message: String,
    pub(crate) span: Span,
    /// The other place of a duplicate.
    pub(crate) other: Option<(Span, &'static str)>,
}

impl YamlError {
    fn new(message: impl Into<String>, span: Span) -> Box<Self> {
        Box::new(Self {
            message: message.into(),
            span,
            other: None,
        })
    }
}

/// How deep collections may nest.
const MAX_DEPTH: usize = 200;

/// How many nodes the aliases of one document may add.
const MAX_ALIAS_NODES: usize = 400_000;

/// Reads every document of a text.
///
/// # Errors
/// The first place where the text is no YAML, repeats a key, has a key that is no string,
/// or expands beyond the budgets.
pub(crate) fn load(text: &str, file: FileId) -> Result<Vec<Document>, Box<YamlError>> {
    let arenas = parse::parse(text, file)?;
    let mut documents = Vec::with_capacity(arenas.len());
    for mut arena in arenas {
        let resets = reset::resolve(&mut arena)?;
        documents.push(Document {
            root: decode::decode(&arena)?,
            resets,
        });
    }
    Ok(documents)
}
