//! Yes-or-no questions. A terminal is asked; a pipe is read one line of; nobody there means the default.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::ui::output;

/// Asks `question`. An empty answer is the default.
pub(crate) fn confirm(question: &str, default: bool) -> bool {
    let choices = if default { "[Y/n]" } else { "[y/N]" };
    output::write_error(format!("{question} {choices} ").as_bytes());
    let stdin = io::stdin();
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if !stdin.is_terminal() || read.is_err() || line.is_empty() {
        // A terminal echoes the user's own line feed.
        output::write_error(b"\n");
    }
    if read.is_err() {
        return default;
    }
    answer(&line, default)
}

fn answer(line: &str, default: bool) -> bool {
    match line.trim().to_ascii_lowercase().as_str() {
        "" => default,
        "y" | "yes" | "true" | "t" | "1" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes_and_nothing_is_the_default() {
        assert!(answer("y\n", false) && answer("YES", false) && answer("1", false));
        assert!(!answer("no", true) && !answer("maybe", true));
        assert!(answer("\n", true) && !answer("", false));
    }
}
