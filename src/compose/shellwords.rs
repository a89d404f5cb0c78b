//! `command: a "b c"` → words, by the rules of the library that docker compose splits with. No shell.

/// The text ends inside quotes, or has a parenthesis that a shell would run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid command line string")]
pub(crate) struct SplitError;

/// Splits a command line into words. Stops at `;`, `&`, `|`, `<` and `>` outside quotes.
pub(crate) fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word = String::new();
    // A word has begun, though it may be empty (`""`).
    let mut begun = false;
    let (mut escaped, mut double, mut single, mut back, mut dollar) =
        (false, false, false, false, false);
    for c in line.chars() {
        if escaped {
            word.push(c);
            escaped = false;
            begun = true;
            continue;
        }
        if c == '\\' {
            if single {
                word.push(c);
            } else {
                escaped = true;
            }
            continue;
        }
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            if single || double || back || dollar {
                word.push(c);
            } else if begun {
                words.push(std::mem::take(&mut word));
                begun = false;
            }
            continue;
        }
        match c {
            '`' if !single && !double && !dollar => back = !back,
            ')' if !single && !double && !back => dollar = !dollar,
            '(' if !single && !double && !back => {
                if !dollar && word.ends_with('$') {
                    dollar = true;
                    word.push('(');
                    continue;
                }
                return Err(SplitError);
            }
            '"' if !single && !dollar => {
                begun |= double;
                double = !double;
                continue;
            }
            '\'' if !double && !dollar => {
                begun |= single;
                single = !single;
                continue;
            }
            ';' | '&' | '|' | '<' | '>' if !(single || double || back || dollar) => {
                if c == '>' && word.starts_with(|c: char| c.is_ascii_digit()) {
                    begun = false;
                }
                break;
            }
            _ => {}
        }
        begun = true;
        word.push(c);
    }
    if begun {
        words.push(word);
    }
    if escaped || single || double || back || dollar {
        return Err(SplitError);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_docker_compose() {
        let show = |text| split(text).map_or("error".to_owned(), |words| words.join("|"));
        for (text, words) in [
            ("a b  c", "a|b|c"),
            ("a \"b c\" 'd e'", "a|b c|d e"),
            ("a\\ b", "a b"),
            ("", ""),
            ("a \"\"", "a|"),
            ("echo a; echo b", "echo|a"),
            ("echo 2>x", "echo"),
            ("a \"b", "error"),
            ("a (b)", "error"),
            ("a $(b c) d", "a|$(b c)|d"),
            ("sh -c 'echo $A'", "sh|-c|echo $A"),
            ("a # b", "a|#|b"),
        ] {
            assert_eq!(show(text), words, "{text}");
        }
    }
}
