//! `hoist engine`: the bundled engine's life, and how other clients reach it.

use std::path::PathBuf;

use serde_json::json;
use tokio_util::io::ReaderStream;

use crate::cli::error::{CliError, Outcome};
use crate::cli::session::Session;
use crate::client::{Client, EngineChoice, Roots};
use crate::ops::engine;
use crate::ui::output;

/// Manage the bundled container engine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Say whether the engine runs, where, and what it holds
    Status(StatusArgs),
    /// Start the engine
    Start,
    /// Stop the engine; containers run on
    Stop,
    /// Print the engine's own log
    Logs(LogsArgs),
    /// Print the environment that points a Docker client at the engine: eval $(hoist engine env)
    Env,
    /// Load images from a tar archive (docker save, or an OCI layout)
    Load(LoadArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Format the output. Values: [pretty | json]
    #[arg(long, default_value = "pretty")]
    pub(crate) format: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// Number of lines to show from the end
    #[arg(short = 'n', long, default_value = "all", value_name = "LINES")]
    pub(crate) tail: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Read from a tar archive file (default: stdin)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<String>,
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(session: &Session, args: Args) -> Outcome {
    let environment = session
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let roots = Roots::from_environment(&environment)?;
    match args.command {
        Command::Status(args) => status(&roots, &args.format).await,
        Command::Start => {
            engine::start(&roots).await?;
            output::error_line(format!("The engine runs at {}", roots.socket().display()));
            Ok(())
        }
        Command::Stop => {
            let text = if engine::stop(&roots).await? {
                "The engine has stopped; its containers run on"
            } else {
                "The engine does not run"
            };
            output::error_line(text);
            Ok(())
        }
        Command::Logs(args) => {
            let text = engine::log(&roots)?;
            let lines: Vec<&str> = text.lines().collect();
            let from = match args.tail.parse::<usize>() {
                Ok(tail) => lines.len().saturating_sub(tail),
                Err(_) if args.tail == "all" => 0,
                Err(_) => {
                    return Err(CliError::new(format!(
                        "--tail {:?}: use a number or all",
                        args.tail
                    )));
                }
            };
            for line in &lines[from..] {
                output::line(line);
            }
            Ok(())
        }
        Command::Env => {
            output::line(format!(
                "export DOCKER_HOST=unix://{}",
                roots.socket().display()
            ));
            Ok(())
        }
        Command::Load(args) => load(session, &roots, args).await,
    }
}

async fn status(roots: &Roots, format: &str) -> Outcome {
    let status = engine::status(roots).await?;
    if format == "json" {
        let object = json!({
            "Running": status.running,
            "Pid": status.pid,
            "Socket": status.socket,
            "DataRoot": status.data_root,
            "RunRoot": status.run_root,
            "Version": status.version,
            "ApiVersion": status.api_version,
            "Containers": status.containers,
            "ContainersRunning": status.containers_running,
        });
        output::line(object.to_string());
        return Ok(());
    }
    if !matches!(format, "pretty" | "") {
        return Err(CliError::new(format!(
            "unknown format {format:?}: use pretty or json"
        )));
    }
    let state = match status.pid {
        Some(pid) if status.running => format!("running (process {pid})"),
        _ if status.running => "running".to_owned(),
        _ => "not running".to_owned(),
    };
    output::line(format!("engine      {state}"));
    if status.running {
        output::line(format!(
            "version     {} (API {})",
            status.version, status.api_version
        ));
        output::line(format!(
            "containers  {} ({} running)",
            status.containers, status.containers_running
        ));
    }
    output::line(format!("socket      {}", status.socket));
    output::line(format!("data        {}", status.data_root));
    output::line(format!("run         {}", status.run_root));
    Ok(())
}

/// Loads into the engine that `--engine` means, the bundled one by default.
async fn load(session: &Session, roots: &Roots, args: LoadArgs) -> Outcome {
    let choice = match session.engine_choice()? {
        choice if session.globals.engine.is_some() => choice,
        _ => EngineChoice::Bundled(roots.clone()),
    };
    let client = Client::connect(choice).await?;
    let mut files: Vec<PathBuf> = args.files.iter().map(PathBuf::from).collect();
    files.extend(args.input.iter().map(PathBuf::from));
    if files.is_empty() {
        let archive = Box::pin(ReaderStream::new(tokio::io::stdin()));
        return print(client.load_images(archive).await?);
    }
    for file in files {
        let path = session.working_dir.join(&file);
        let open = tokio::fs::File::open(&path)
            .await
            .map_err(|error| CliError::new(format!("open {}: {error}", file.display())))?;
        print(
            client
                .load_images(Box::pin(ReaderStream::new(open)))
                .await?,
        )?;
    }
    Ok(())
}

fn print(lines: Vec<String>) -> Outcome {
    for line in lines {
        output::line(line);
    }
    Ok(())
}
