//! `hoist build`: the command line of it.

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::{Display, Need, Session};
use crate::ops::build::{self, BuildOptions};
use crate::ui::output;
use crate::units;

/// Build or rebuild services
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Set build-time variables for services
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) build_arg: Vec<String>,
    /// Set builder to use
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// Check build configuration
    #[arg(long)]
    pub(crate) check: bool,
    /// Set memory limit for the build container
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print equivalent bake file
    #[arg(long)]
    pub(crate) print: bool,
    /// Add a provenance attestation
    #[arg(long, value_name = "SETTING")]
    pub(crate) provenance: Option<String>,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pub(crate) pull: bool,
    /// Push service images
    #[arg(long)]
    pub(crate) push: bool,
    /// Suppress the build output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Add a SBOM attestation
    #[arg(long, value_name = "SETTING")]
    pub(crate) sbom: Option<String>,
    /// Set SSH authentications used when building service images (use 'default' for using your default SSH Agent)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "default")]
    pub(crate) ssh: Option<String>,
    /// Also build dependencies (transitively)
    #[arg(long)]
    pub(crate) with_dependencies: bool,
    #[arg(long, hide = true)]
    pub(crate) progress: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) parallel: bool,
    #[arg(long, hide = true)]
    pub(crate) compress: bool,
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,
    #[arg(long, hide = true)]
    pub(crate) no_rm: bool,
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    for (flag, used) in [
        ("--check", args.check),
        ("--sbom", args.sbom.as_deref().is_some_and(is_on)),
        (
            "--provenance",
            args.provenance.as_deref().is_some_and(is_on),
        ),
        ("--ssh", args.ssh.is_some()),
        (
            "--builder",
            args.builder
                .as_deref()
                .is_some_and(|name| name != "default"),
        ),
    ] {
        if used {
            return Err(CliError::not_supported(format!("build {flag}")));
        }
    }
    if args.progress.is_some() {
        output::warning(
            "--progress is a global compose flag, better use `hoist --progress xx build ...`",
        );
    }
    let memory = match args.memory.as_deref() {
        Some(text) if !text.is_empty() => units::parse_bytes(text).map_err(CliError::new)?,
        _ => 0,
    };
    let ctx = session
        .context(
            Need::Project,
            Display {
                quiet: args.quiet,
                ..Display::default()
            },
        )
        .await?;
    let options = BuildOptions {
        services: args.services,
        with_dependencies: args.with_dependencies,
        arguments: args.build_arg,
        no_cache: args.no_cache,
        pull: args.pull,
        push: args.push,
        memory,
        quiet: args.quiet,
    };
    if args.print {
        let bake = build::bake(&ctx, &options)?;
        let text = serde_json::to_string_pretty(&bake).map_err(CliError::new)?;
        output::line(text);
        return Ok(());
    }
    Ok(build::run(&ctx, &options).await?)
}

fn is_on(setting: &str) -> bool {
    !setting.is_empty() && setting != "false" && setting != "mode=disabled"
}
