//! The labels by which the objects of a project are found again: docker compose's own, so that
//! either tool takes over what the other made, and the few that only hoist reads. Names only;
//! who sets them is decided in `client`.

/// Name of the project.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
/// Name of the service in the file.
pub(crate) const SERVICE: &str = "com.docker.compose.service";
/// Version of the tool that made the object.
pub(crate) const VERSION: &str = "com.docker.compose.version";
/// The project directory.
pub(crate) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The Compose files, separated by commas.
pub(crate) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The files given with `--env-file`, separated by commas.
pub(crate) const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
/// `True` for a container of `run`, else `False`.
pub(crate) const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Hash of the configuration the object was made from.
pub(crate) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// Number of the replica, from 1.
pub(crate) const CONTAINER_NUMBER: &str = "com.docker.compose.container-number";
/// `service:condition:restart`, separated by commas.
pub(crate) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Digest of the image the container was made from.
pub(crate) const IMAGE: &str = "com.docker.compose.image";
/// `target=digest` of each image mount, separated by commas.
pub(crate) const IMAGE_VOLUME_DIGEST: &str = "com.docker.compose.image-volume-digest";
/// Name of the container that this one replaced.
pub(crate) const REPLACE: &str = "com.docker.compose.replace";
/// Random name of a one-off container.
pub(crate) const SLUG: &str = "com.docker.compose.slug";
/// Key of a network in the file.
pub(crate) const NETWORK: &str = "com.docker.compose.network";
/// Key of a volume in the file.
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
/// `pre_start` for the container of a hook.
pub(crate) const HOOK: &str = "com.docker.compose.hook";

/// The canonical configuration of the service: lets a plan name the field that changed.
pub(crate) const HOIST_CONFIG: &str = "dev.hoist.config";
/// Digest over the contents of the configs and secrets of the container.
pub(crate) const HOIST_CONTENTS: &str = "dev.hoist.contents";

/// The version of docker compose whose behaviour and labels these are.
pub(crate) const COMPOSE_VERSION: &str = "5.5.0";
