//! Typed instructions with their place in the file. Values that may hold variables stay as written; they are
//! expanded when the step is reached. It reads no file and runs nothing.

use std::time::Duration;

use crate::engine::build::lexer::{
    DockerfileError, Heredoc, Lexed, Line, Span, heredoc_of, quoted_words,
};
use crate::oci::Healthcheck;

/// A command in exec form (an argument list) or for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Exec(Vec<String>),
    Shell(String),
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) sources: Vec<String>,
    /// Files given in place, by their names.
    pub(crate) inline: Vec<Heredoc>,
    pub(crate) destination: String,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) parents: bool,
    /// Sources may be URLs; archives are unpacked.
    pub(crate) is_add: bool,
    /// `--unpack=…` of ADD.
    pub(crate) unpack: Option<bool>,
    pub(crate) keep_git_dir: bool,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) command: Command,
    pub(crate) heredocs: Vec<Heredoc>,
    /// Options of each `--mount`, as written.
    pub(crate) mounts: Vec<String>,
    pub(crate) network: Option<String>,
    pub(crate) security: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instruction {
    Add(Copy),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(String),
    Healthcheck(Healthcheck),
    Label(Vec<(String, String)>),
    Maintainer(String),
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// An instruction, as written and understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) instruction: Instruction,
    pub(crate) span: Span,
    pub(crate) original: String,
}

/// `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) base: String,
    /// Lower case.
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) span: Span,
    pub(crate) original: String,
}

/// A stage as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) from: From,
    pub(crate) steps: Vec<Step>,
}

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    pub(crate) escape: char,
    pub(crate) syntax: Option<String>,
    /// `ARG`s before the first `FROM`.
    pub(crate) arguments: Vec<(String, Option<String>)>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) warnings: Vec<String>,
}

type Result<T> = std::result::Result<T, DockerfileError>;

/// Types all lines of a file.
pub(crate) fn parse(lexed: Lexed) -> Result<Dockerfile> {
    let mut dockerfile = Dockerfile {
        escape: lexed.escape,
        syntax: lexed.syntax,
        arguments: Vec::new(),
        stages: Vec::new(),
        warnings: lexed.warnings,
    };
    for line in lexed.lines {
        if line.keyword == "from" {
            let from = parse_from(&line)?;
            dockerfile.stages.push(Stage {
                from,
                steps: Vec::new(),
            });
            continue;
        }
        let step = parse_step(line, lexed.escape)?;
        match dockerfile.stages.last_mut() {
            Some(stage) => stage.steps.push(step),
            None => match step.instruction {
                Instruction::Arg(arguments) => dockerfile.arguments.extend(arguments),
                _ => {
                    return Err(DockerfileError::new(
                        step.span.start,
                        "no build stage in current context",
                    ));
                }
            },
        }
    }
    if dockerfile.stages.is_empty() {
        return Err(DockerfileError::new(1, "no build stage in current context"));
    }
    Ok(dockerfile)
}

/// Types one instruction line other than `FROM`.
pub(crate) fn parse_step(line: Line, escape: char) -> Result<Step> {
    let span = line.span;
    let original = line.original.clone();
    let instruction = parse_instruction(line, escape)
        .map_err(|message| DockerfileError::new(span.start, message))?;
    Ok(Step {
        instruction,
        span,
        original,
    })
}

/// `--name=value` flags of one instruction; what is left over is an error.
struct Flags {
    keyword: String,
    flags: Vec<(String, Option<String>)>,
}

impl Flags {
    fn new(line: &Line) -> Self {
        let flags = line
            .flags
            .iter()
            .map(|flag| {
                let flag = flag.trim_start_matches('-');
                match flag.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (flag.to_owned(), None),
                }
            })
            .collect();
        Flags {
            keyword: line.keyword.to_ascii_uppercase(),
            flags,
        }
    }

    fn take_all(&mut self, name: &str) -> std::result::Result<Vec<String>, String> {
        let (taken, left): (Vec<_>, Vec<_>) =
            self.flags.drain(..).partition(|(have, _)| have == name);
        self.flags = left;
        taken
            .into_iter()
            .map(|(_, value)| value.ok_or_else(|| format!("missing a value on flag: {name}")))
            .collect()
    }

    fn take(&mut self, name: &str) -> std::result::Result<Option<String>, String> {
        let mut values = self.take_all(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(format!("duplicate flag specified: {name}")),
        }
    }

    fn take_bool(&mut self, name: &str) -> std::result::Result<Option<bool>, String> {
        let at = self.flags.iter().position(|(have, _)| have == name);
        let Some(at) = at else {
            return Ok(None);
        };
        match self.flags.remove(at).1.as_deref() {
            None | Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!(
                "expecting boolean value for flag {name}, not: {other}"
            )),
        }
    }

    fn done(self) -> std::result::Result<(), String> {
        match self.flags.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{}: unknown flag: --{name}", self.keyword)),
        }
    }
}

fn parse_from(line: &Line) -> Result<From> {
    let fail = |message: String| DockerfileError::new(line.span.start, message);
    let mut flags = Flags::new(line);
    let platform = flags.take("platform").map_err(fail)?;
    flags.done().map_err(fail)?;
    let words: Vec<&str> = line.rest.split_whitespace().collect();
    let (base, name) = match words.as_slice() {
        [base] => (*base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            let name = name.to_ascii_lowercase();
            let good = name.starts_with(|c: char| c.is_ascii_lowercase())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !good {
                return Err(fail(format!(
                    "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
                )));
            }
            (*base, Some(name))
        }
        _ => {
            return Err(fail(
                "FROM requires either one or three arguments".to_owned(),
            ));
        }
    };
    Ok(From {
        base: base.to_owned(),
        name,
        platform,
        span: line.span,
        original: line.original.clone(),
    })
}

fn parse_instruction(mut line: Line, escape: char) -> std::result::Result<Instruction, String> {
    let keyword = line.keyword.to_ascii_uppercase();
    let mut flags = Flags::new(&line);
    let rest = line.rest.trim().to_owned();
    let needs_argument = !matches!(
        keyword.as_str(),
        "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "RUN" | "SHELL"
    );
    let one = |text: &str| match text {
        "" => Err(format!("{keyword} requires exactly one argument")),
        text => Ok(text.to_owned()),
    };
    let instruction = match keyword.as_str() {
        "ADD" | "COPY" => parse_copy(
            &mut flags,
            &rest,
            std::mem::take(&mut line.heredocs),
            keyword == "ADD",
        )?,
        "ARG" => Instruction::Arg(parse_arguments(&rest, escape)?),
        "CMD" => Instruction::Cmd(parse_command(&rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(parse_command(&rest)?),
        "ENV" => Instruction::Env(parse_pairs(&keyword, &rest, escape)?),
        "EXPOSE" => Instruction::Expose(one_or_more(&keyword, &rest)?),
        "HEALTHCHECK" => Instruction::Healthcheck(parse_healthcheck(&mut flags, &rest)?),
        "LABEL" => Instruction::Label(parse_pairs(&keyword, &rest, escape)?),
        "MAINTAINER" => Instruction::Maintainer(one(&rest)?),
        "ONBUILD" => Instruction::Onbuild(parse_onbuild(&line, &rest)?),
        "RUN" => Instruction::Run(Run {
            command: parse_run(&rest, !line.heredocs.is_empty())?,
            heredocs: std::mem::take(&mut line.heredocs),
            mounts: flags.take_all("mount")?,
            network: flags.take("network")?,
            security: flags.take("security")?,
        }),
        "SHELL" => match parse_command(&rest)? {
            Command::Exec(shell) if !shell.is_empty() => Instruction::Shell(shell),
            Command::Exec(_) => return Err("SHELL requires at least one argument".to_owned()),
            Command::Shell(_) => {
                return Err(format!(
                    "SHELL requires the arguments to be in JSON form: {rest}"
                ));
            }
        },
        "STOPSIGNAL" => Instruction::StopSignal(one(&rest)?),
        "USER" => Instruction::User(one(&rest)?),
        "VOLUME" => Instruction::Volume(match parse_command(&rest)? {
            Command::Exec(paths) => paths,
            Command::Shell(text) => text.split_whitespace().map(str::to_owned).collect(),
        }),
        "WORKDIR" => Instruction::Workdir(one(&rest)?),
        "FROM" => return Err("FROM cannot be used here".to_owned()),
        _ => {
            return Err(format!(
                "unknown instruction: {}{}",
                line.keyword_as_written(),
                suggestion(&keyword)
            ));
        }
    };
    if needs_argument && rest.is_empty() {
        return Err(format!("{keyword} requires at least one argument"));
    }
    flags.done()?;
    if let Instruction::Volume(paths) = &instruction
        && (paths.is_empty() || paths.iter().any(|path| path.trim().is_empty()))
    {
        return Err("VOLUME specified can not be an empty string".to_owned());
    }
    Ok(instruction)
}

impl Line {
    fn keyword_as_written(&self) -> &str {
        self.original
            .split_whitespace()
            .next()
            .unwrap_or(&self.keyword)
    }
}

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A keyword one or two typing errors away.
fn suggestion(keyword: &str) -> String {
    let best = KEYWORDS
        .iter()
        .map(|known| (distance(keyword, known), known))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance);
    match best {
        Some((_, known)) => format!(" (did you mean {known}?)"),
        None => String::new(),
    }
}

fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(*left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[row.len() - 1]
}

fn one_or_more(keyword: &str, rest: &str) -> std::result::Result<String, String> {
    match rest.is_empty() {
        true => Err(format!("{keyword} requires at least one argument")),
        false => Ok(rest.to_owned()),
    }
}

/// JSON of strings is the exec form, everything else is for the shell.
fn parse_command(rest: &str) -> std::result::Result<Command, String> {
    if !rest.starts_with('[') {
        return Ok(Command::Shell(rest.to_owned()));
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(rest) {
        Err(_) => Ok(Command::Shell(rest.to_owned())),
        Ok(values) => values
            .into_iter()
            .map(|value| match value {
                serde_json::Value::String(text) => Ok(text),
                _ => Err(
                    "when using JSON array syntax, arrays must be comprised of strings only"
                        .to_owned(),
                ),
            })
            .collect::<std::result::Result<_, _>>()
            .map(Command::Exec),
    }
}

fn parse_run(rest: &str, has_heredocs: bool) -> std::result::Result<Command, String> {
    if rest.is_empty() {
        return Err("RUN requires at least one argument".to_owned());
    }
    match has_heredocs {
        true => Ok(Command::Shell(rest.to_owned())),
        false => parse_command(rest),
    }
}

fn parse_arguments(
    rest: &str,
    escape: char,
) -> std::result::Result<Vec<(String, Option<String>)>, String> {
    quoted_words(rest, escape)
        .into_iter()
        .map(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            if name.is_empty() {
                return Err("ARG names can not be blank".to_owned());
            }
            Ok((name, value))
        })
        .collect()
}

/// `k=v k=v`, or the old `k the rest`.
fn parse_pairs(
    keyword: &str,
    rest: &str,
    escape: char,
) -> std::result::Result<Vec<(String, String)>, String> {
    let words = quoted_words(rest, escape);
    let Some(first) = words.first() else {
        return Err(format!("{keyword} requires at least one argument"));
    };
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{keyword} must have two arguments"))?;
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{keyword} names can not be blank")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            )),
        })
        .collect()
}

fn parse_copy(
    flags: &mut Flags,
    rest: &str,
    heredocs: Vec<Heredoc>,
    is_add: bool,
) -> std::result::Result<Instruction, String> {
    let keyword = if is_add { "ADD" } else { "COPY" };
    let mut words = match parse_command(rest)? {
        Command::Exec(words) => words,
        Command::Shell(text) => text.split_whitespace().map(str::to_owned).collect(),
    };
    let destination = words.pop().unwrap_or_default();
    if words.is_empty() || destination.is_empty() {
        return Err(format!(
            "{keyword} requires at least two arguments, but only {} {} provided. Destination could not be determined",
            usize::from(!destination.is_empty()),
            if destination.is_empty() {
                "were"
            } else {
                "was"
            }
        ));
    }
    let (inline_names, sources): (Vec<String>, Vec<String>) = words
        .into_iter()
        .partition(|word| !heredocs.is_empty() && heredoc_of(word).is_some());
    let inline = match inline_names.is_empty() {
        true => Vec::new(),
        false => heredocs,
    };
    let mut copy = Copy {
        sources,
        inline,
        destination,
        chown: flags.take("chown")?,
        chmod: flags.take("chmod")?,
        exclude: flags.take_all("exclude")?,
        is_add,
        ..Copy::default()
    };
    // A layer of its own: here every step is one, so there is nothing to do.
    flags.take_bool("link")?;
    if is_add {
        copy.checksum = flags.take("checksum")?;
        copy.keep_git_dir = flags.take_bool("keep-git-dir")?.unwrap_or(false);
        copy.unpack = flags.take_bool("unpack")?;
        return Ok(Instruction::Add(copy));
    }
    copy.from = flags.take("from")?;
    copy.parents = flags.take_bool("parents")?.unwrap_or(false);
    Ok(Instruction::Copy(copy))
}

fn parse_onbuild(line: &Line, rest: &str) -> std::result::Result<String, String> {
    let trigger = rest
        .split_whitespace()
        .next()
        .unwrap_or("")
        .to_ascii_uppercase();
    match trigger.as_str() {
        "ONBUILD" => return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "MAINTAINER" | "FROM" => {
            return Err(format!("{trigger} isn't allowed as an ONBUILD trigger"));
        }
        _ => {}
    }
    let mut text = line
        .original
        .split_once(char::is_whitespace)
        .map_or("", |(_, rest)| rest.trim())
        .to_owned();
    for heredoc in &line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    // Wrong triggers are found here, not in the image that uses them.
    let lexed = crate::engine::build::lexer::lex(&text).map_err(|error| error.message)?;
    for line in lexed.lines {
        parse_step(line, lexed.escape).map_err(|error| error.message)?;
    }
    Ok(text)
}

fn parse_healthcheck(flags: &mut Flags, rest: &str) -> std::result::Result<Healthcheck, String> {
    let (kind, command) = match rest.split_once(char::is_whitespace) {
        Some((kind, command)) => (kind.to_ascii_uppercase(), command.trim()),
        None => (rest.to_ascii_uppercase(), ""),
    };
    match kind.as_str() {
        "" => return Err("HEALTHCHECK requires at least one argument".to_owned()),
        "NONE" if command.is_empty() => {
            return Ok(Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            });
        }
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if command.is_empty() => {
            return Err("Missing command after HEALTHCHECK CMD".to_owned());
        }
        "CMD" => {}
        other => return Err(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
    }
    let test = match parse_command(command)? {
        Command::Exec(words) => [vec!["CMD".to_owned()], words].concat(),
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
    };
    let mut duration = |name: &str| -> std::result::Result<i64, String> {
        match flags.take(name)? {
            None => Ok(0),
            Some(text) => {
                let value =
                    crate::units::Duration::parse(&text).map_err(|error| error.to_string())?;
                let nanos = value.as_nanos();
                if nanos != 0 && nanos < Duration::from_millis(1).as_nanos() as i64 {
                    return Err(format!("Interval \"{name}\" cannot be less than 1ms"));
                }
                Ok(nanos)
            }
        }
    };
    let mut check = Healthcheck {
        test,
        interval: duration("interval")?,
        timeout: duration("timeout")?,
        start_period: duration("start-period")?,
        start_interval: duration("start-interval")?,
        retries: 0,
    };
    if let Some(text) = flags.take("retries")? {
        check.retries = text
            .parse()
            .ok()
            .filter(|retries| *retries >= 0)
            .ok_or_else(|| format!("--retries cannot be {text:?}"))?;
    }
    Ok(check)
}
