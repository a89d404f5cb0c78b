//! `COPY` and `ADD` in a stage: where the files are, whether the cache has the result, and making it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::base::{Error, Result};
use crate::engine::build::account;
use crate::engine::build::chmod::Chmod;
use crate::engine::build::copy::{self, Target};
use crate::engine::build::event::BuildResult;
use crate::engine::build::expand::{Lexer, Quotes};
use crate::engine::build::instruction::Copy;
use crate::engine::build::metadata::joined;
use crate::engine::build::run;
use crate::engine::build::session::BuildSession;
use crate::engine::build::stage_run::{StageRun, StageVariables, blocking, chained, view_of};
use crate::oci::Digest;
use crate::oci::dockerignore::PatternSet;

impl StageRun {
    pub(crate) async fn copy(&mut self, copy: &Copy) -> BuildResult<()> {
        let sources = copy
            .sources
            .iter()
            .map(|source| self.expand(source))
            .collect::<Result<Vec<_>>>()?;
        let destination = self.expand(&copy.destination)?;
        let chown = copy
            .chown
            .as_deref()
            .map(|text| self.expand(text))
            .transpose()?;
        let chmod = copy
            .chmod
            .as_deref()
            .map(|text| self.expand(text))
            .transpose()?;
        let keyword = if copy.is_add { "ADD" } else { "COPY" };
        let count = sources.len() + copy.inline.len();
        let is_dir = destination.ends_with('/')
            || matches!(destination.as_str(), "." | "..")
            || destination.ends_with("/.");
        if count > 1 && !is_dir {
            return Err(Error::invalid(format!(
                "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
            ))
            .into());
        }
        let parsed_chmod = chmod
            .as_deref()
            .map(Chmod::parse)
            .transpose()
            .map_err(Error::invalid)?;
        let mut exclude = Vec::new();
        for pattern in &copy.exclude {
            exclude.push(self.expand(pattern)?);
        }
        let exclude =
            PatternSet::new(&exclude).map_err(|error| Error::invalid(error.to_string()))?;
        let source = self.copy_source(copy, sources, &destination).await?;
        let job = CopyJob {
            session: Arc::clone(&self.session),
            top: self.built.top.clone(),
            source,
            destination: joined(&self.built.config.config.working_dir, &destination),
            is_dir: is_dir || count > 1,
            chown: chown.clone(),
            chmod: parsed_chmod,
            exclude,
            parents: copy.parents,
            unpack: copy.is_add && copy.unpack.unwrap_or(true),
            keep_owner: copy.from.is_some(),
        };
        let (job, content) = blocking(move || {
            let content = job.digest()?;
            Ok((job, content))
        })
        .await?;
        let created_by = format!("{keyword} {} in {}", copy.sources.join(" "), destination);
        let key = chained(
            &self.built.key,
            &[
                keyword,
                content.as_str(),
                &job.destination,
                if job.is_dir { "dir" } else { "" },
                chown.as_deref().unwrap_or(""),
                chmod.as_deref().unwrap_or(""),
                &format!("{} {}", job.parents, job.unpack),
            ],
        );
        if self.take_cached(&key, &created_by).await {
            return Ok(());
        }
        let id = run::random_id()?;
        let snapshot = id.clone();
        let made = blocking(move || job.copy(&snapshot)).await;
        self.finish_step(&id, made, key, created_by).await
    }

    /// Where the files of a `COPY` or `ADD` are.
    async fn copy_source(
        &self,
        copy: &Copy,
        sources: Vec<String>,
        destination: &str,
    ) -> BuildResult<CopySource> {
        let mut lowers = match &copy.from {
            None => Vec::from([self.session.context.clone()]),
            Some(from) => self.tree(from).await?,
        };
        let is_url = |text: &String| {
            copy.is_add && (text.starts_with("http://") || text.starts_with("https://"))
        };
        let is_git = |text: &String| {
            copy.is_add
                && (text.starts_with("git@") || text.ends_with(".git") && text.contains("://"))
        };
        if let Some(git) = sources.iter().find(|text| is_git(text)) {
            return Err(Error::not_implemented(format!(
                "ADD of the git repository {git} is not supported yet"
            ))
            .into());
        }
        let mut folder = None;
        let mut names = Vec::new();
        let has_extra = !copy.inline.is_empty() || sources.iter().any(is_url);
        if has_extra {
            let scratch = self.session.layers().scratch("add-")?;
            for heredoc in &copy.inline {
                let content = match heredoc.expand {
                    true => self.expand_heredoc(&heredoc.content)?,
                    false => heredoc.content.clone(),
                };
                let name = heredoc.name.rsplit('/').next().unwrap_or("file");
                std::fs::write(scratch.path().join(name), content)?;
                names.push(name.to_owned());
            }
            for url in sources.iter().filter(|text| is_url(text)) {
                let checksum = copy
                    .checksum
                    .as_deref()
                    .map(|text| self.expand(text))
                    .transpose()?;
                let name = self
                    .session
                    .download(url, checksum.as_deref(), destination, scratch.path())
                    .await?;
                names.push(name);
            }
            lowers.insert(0, scratch.path().to_owned());
            folder = Some(scratch);
        } else if copy.checksum.is_some() {
            return Err(Error::invalid("checksum requires HTTP(S) sources").into());
        }
        names.extend(sources.into_iter().filter(|text| !is_url(text)));
        Ok(CopySource {
            lowers,
            names,
            _folder: folder,
        })
    }

    fn expand_heredoc(&self, content: &str) -> Result<String> {
        let lexer = Lexer {
            escape: self.session.escape,
            quotes: Quotes::Ignore,
            keep_unset: false,
        };
        let variables = StageVariables {
            config: &self.built.config.config,
            args: &self.args,
        };
        lexer
            .word(content, &variables)
            .map_err(|error| Error::invalid(error.to_string()))
    }
}

/// Files to copy, from directories laid over each other.
struct CopySource {
    lowers: Vec<PathBuf>,
    names: Vec<String>,
    /// Holds what was made for this step only.
    _folder: Option<tempfile::TempDir>,
}

struct CopyJob {
    session: Arc<BuildSession>,
    top: Option<Digest>,
    source: CopySource,
    destination: String,
    is_dir: bool,
    chown: Option<String>,
    chmod: Option<Chmod>,
    exclude: PatternSet,
    parents: bool,
    unpack: bool,
    keep_owner: bool,
}

impl CopyJob {
    fn digest(&self) -> Result<Digest> {
        let root = view_of(&self.source.lowers)?;
        let selected = copy::select(&root, &self.source.names)?;
        copy::digest(&root, &selected, &self.exclude, self.keep_owner)
    }

    fn copy(self, snapshot: &str) -> Result<PathBuf> {
        let from = view_of(&self.source.lowers)?;
        let selected = copy::select(&from, &self.source.names)?;
        let root = self.session.writable(snapshot, self.top.as_ref())?;
        let owner = match &self.chown {
            Some(text) => Some(account::resolve_owner(&root, text)?),
            None if self.keep_owner || self.unpack => None,
            None => Some((0, 0)),
        };
        copy::copy(
            &from,
            &selected,
            &Target {
                root: &root,
                destination: self.destination,
                is_dir: self.is_dir,
                owner,
                chmod: self.chmod,
                exclude: &self.exclude,
                parents: self.parents,
                unpack: self.unpack,
                cancel: &self.session.cancel,
            },
        )?;
        drop(root);
        self.session.builder.images().snapshots().upper(snapshot)
    }
}
