//! `cp`: files between a service's containers and this machine, with the rules of `docker cp`. To a service
//! means to each of its containers; from a service means from its first.

mod pack;
mod unpack;

use std::path::{Path, PathBuf};

use futures_util::{Stream, StreamExt as _};

use bytes::Bytes;

use crate::client::ClientError;
use crate::client::files::{PathStat, TarStream};
use crate::client::reads::ContainerRow;
use crate::oci::dockerignore::clean;
use crate::ops::{Context, OpError, replicas};
use crate::progress::{Event, Resource};

/// Links that a chain may have.
const MOST_LINKS: usize = 32;

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Local(String),
    /// `-`: an archive on stdin or stdout.
    Pipe,
    Service {
        service: String,
        path: String,
    },
}

/// What to copy, and how.
#[derive(Debug, Clone)]
pub(crate) struct CpOptions {
    pub(crate) source: Place,
    pub(crate) destination: Place,
    pub(crate) index: u32,
    /// One-off containers too.
    pub(crate) all: bool,
    pub(crate) keep_owners: bool,
    pub(crate) follow_link: bool,
}

/// Where archives of `-` come from and go to.
pub(crate) trait Pipes {
    /// The archive on stdin.
    fn stdin(&self) -> TarStream;
    /// Writes a piece of an archive to stdout.
    fn stdout(&self, piece: &[u8]);
}

/// `SERVICE:PATH`, a local path, or `-`.
pub(crate) fn parse_place(text: &str) -> Place {
    if text == "-" {
        return Place::Pipe;
    }
    if text.starts_with('/') || text.starts_with('.') {
        return Place::Local(text.to_owned());
    }
    match text.split_once(':') {
        Some((service, path)) => Place::Service {
            service: service.to_owned(),
            path: path.to_owned(),
        },
        None => Place::Local(text.to_owned()),
    }
}

/// Copies.
///
/// # Errors
/// The engine, the file system, no such container or path.
pub(crate) async fn run(
    ctx: &Context,
    options: &CpOptions,
    working_dir: &Path,
    pipes: &dyn Pipes,
) -> Result<(), OpError> {
    match (&options.source, &options.destination) {
        (Place::Service { .. }, Place::Service { .. }) => {
            Err(OpError::failed("copying between services is not supported"))
        }
        (Place::Service { service, path }, destination) => {
            let containers = containers(ctx, service, options).await?;
            let Some(container) = containers.first() else {
                return Err(none(service));
            };
            ctx.progress.begin("cp");
            let done = from_container(
                ctx,
                container,
                path,
                destination,
                options,
                working_dir,
                pipes,
            )
            .await;
            ctx.progress.end(done.is_err());
            done
        }
        (source, Place::Service { service, path }) => {
            let containers = containers(ctx, service, options).await?;
            if containers.is_empty() {
                return Err(none(service));
            }
            ctx.progress.begin("cp");
            let done =
                to_containers(ctx, &containers, source, path, options, working_dir, pipes).await;
            ctx.progress.end(done.is_err());
            done
        }
        _ => Err(OpError::failed("unknown copy direction")),
    }
}

fn none(service: &str) -> OpError {
    OpError::failed(format!("no container found for service \"{service}\""))
}

async fn containers(
    ctx: &Context,
    service: &str,
    options: &CpOptions,
) -> Result<Vec<ContainerRow>, OpError> {
    let services = [service.to_owned()];
    let mut rows = replicas::of_services(ctx, &services, true, options.all).await?;
    if options.index > 0 {
        rows.retain(|row| row.number() == options.index && !row.is_one_off());
    }
    Ok(rows)
}

async fn from_container(
    ctx: &Context,
    container: &ContainerRow,
    path: &str,
    destination: &Place,
    options: &CpOptions,
    working_dir: &Path,
    pipes: &dyn Pipes,
) -> Result<(), OpError> {
    let resource = Resource::container(container.name.clone());
    let describe = format!("{}:{path}", container.name);
    ctx.progress
        .send(Event::working(resource.clone(), "Copying").detail(describe.clone()));
    if ctx.dry_run {
        ctx.progress
            .send(Event::done(resource, "Copied").detail(describe));
        return Ok(());
    }
    let id = &container.id;
    let mut source = path.to_owned();
    let mut stat = ctx.client.stat_path(id, &source).await?.ok_or_else(|| {
        OpError::failed(format!(
            "Could not find the file {path} in container {}",
            container.name
        ))
    })?;
    if options.follow_link {
        (source, stat) = followed(ctx, id, source, stat).await?;
    }
    let mut archive = ctx.client.get_archive(id, &source);
    match destination {
        Place::Local(local) => {
            let target = working_dir.join(local);
            let plan = unpack::plan(&stat, path, &target, local)?;
            let bytes = spooled(&mut archive).await?;
            let keep = options.keep_owners;
            tokio::task::spawn_blocking(move || unpack::unpack(bytes, &plan, keep))
                .await
                .map_err(|error| OpError::failed(error.to_string()))??;
        }
        _ => {
            while let Some(piece) = archive.next().await {
                pipes.stdout(&piece?);
            }
        }
    }
    ctx.progress
        .send(Event::done(resource, "Copied").detail(describe));
    Ok(())
}

/// An archive on its way through, in an unnamed file.
async fn spooled(
    archive: &mut (impl Stream<Item = Result<Bytes, ClientError>> + Unpin),
) -> Result<std::fs::File, OpError> {
    use std::io::{Seek as _, Write as _};
    let failed = |error: std::io::Error| OpError::failed(format!("temporary file: {error}"));
    let mut file = tempfile::tempfile().map_err(failed)?;
    while let Some(piece) = archive.next().await {
        file.write_all(&piece?).map_err(failed)?;
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

/// Follows links inside a container to what they lead to.
async fn followed(
    ctx: &Context,
    id: &str,
    mut path: String,
    mut stat: PathStat,
) -> Result<(String, PathStat), OpError> {
    for _ in 0..MOST_LINKS {
        if !stat.is_symlink {
            return Ok((path, stat));
        }
        path = link_target(&path, &stat.link_target);
        stat = ctx.client.stat_path(id, &path).await?.ok_or_else(|| {
            OpError::failed(format!("the link leads to {path}, which does not exist"))
        })?;
    }
    Err(OpError::failed(format!("{path}: too many links")))
}

fn link_target(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    clean(&format!("{folder}/{target}"))
}

async fn to_containers(
    ctx: &Context,
    containers: &[ContainerRow],
    source: &Place,
    path: &str,
    options: &CpOptions,
    working_dir: &Path,
    pipes: &dyn Pipes,
) -> Result<(), OpError> {
    if *source == Place::Pipe && containers.len() > 1 {
        return Err(OpError::failed(
            "an archive on stdin can go to one container only: use --index",
        ));
    }
    let copies = containers.iter().map(|container| async move {
        let resource = Resource::container(container.name.clone());
        let describe = format!("to {}:{path}", container.name);
        ctx.progress
            .send(Event::working(resource.clone(), "Copying").detail(describe.clone()));
        let done = if ctx.dry_run {
            Ok(())
        } else {
            to_container(ctx, container, source, path, options, working_dir, pipes).await
        };
        ctx.progress.send(match &done {
            Ok(()) => Event::done(resource, "Copied").detail(describe),
            Err(error) => Event::error(resource, error.message.clone()),
        });
        done
    });
    for done in futures_util::future::join_all(copies).await {
        done?;
    }
    Ok(())
}

async fn to_container(
    ctx: &Context,
    container: &ContainerRow,
    source: &Place,
    path: &str,
    options: &CpOptions,
    working_dir: &Path,
    pipes: &dyn Pipes,
) -> Result<(), OpError> {
    let id = &container.id;
    let mut target = if path.is_empty() {
        "/".to_owned()
    } else {
        path.to_owned()
    };
    let mut stat = ctx.client.stat_path(id, &target).await?;
    if let Some(found) = stat.clone()
        && found.is_symlink
    {
        let (followed, found) = followed(ctx, id, target, found).await?;
        target = followed;
        stat = Some(found);
    }
    let local = match source {
        Place::Local(local) => local,
        _ => {
            if !stat.is_some_and(|stat| stat.is_dir) {
                return Err(OpError::failed(format!(
                    "destination \"{}:{path}\" must be a directory",
                    container.service()
                )));
            }
            let archive = pipes.stdin();
            return Ok(ctx
                .client
                .put_archive(id, &target, options.keep_owners, archive)
                .await?);
        }
    };
    let mut from = working_dir.join(local);
    if options.follow_link {
        from = std::fs::canonicalize(&from)
            .map_err(|error| OpError::failed(format!("{local}: {error}")))?;
    }
    let metadata = std::fs::symlink_metadata(&from)
        .map_err(|error| OpError::failed(format!("{local}: {error}")))?;
    let (folder, name) = pack::place(
        local,
        metadata.is_dir(),
        &target,
        stat.as_ref().map(|stat| stat.is_dir),
    )?;
    if stat.is_none() {
        let parent = ctx.client.stat_path(id, &folder).await?;
        if !parent.is_some_and(|parent| parent.is_dir || parent.is_symlink) {
            return Err(OpError::failed(format!(
                "Could not find the file {folder} in container {}",
                container.name
            )));
        }
    }
    let archive = pack::archive(PathBuf::from(&from), name);
    Ok(ctx
        .client
        .put_archive(id, &folder, options.keep_owners, archive)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_path_a_service_or_a_pipe() {
        assert_eq!(parse_place("-"), Place::Pipe);
        assert_eq!(parse_place("./a:b"), Place::Local("./a:b".to_owned()));
        assert_eq!(parse_place("/a:b"), Place::Local("/a:b".to_owned()));
        assert_eq!(parse_place("a"), Place::Local("a".to_owned()));
        let service = Place::Service {
            service: "web".to_owned(),
            path: "/x:y".to_owned(),
        };
        assert_eq!(parse_place("web:/x:y"), service);
    }
}
