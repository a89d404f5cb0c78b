//! Template text → nodes. Grammar of Go's text/template, with a limit on depth.

use serde_json::Value;

use super::TemplateError;

const DEEPEST: usize = 64;

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Vec<(Option<Pipeline>, Vec<Node>)>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
}

/// `$a, $b := first | second`.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Vec<Operand>>,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    /// `.`, `.A.B`: the start and the fields.
    Fields(Start, Vec<String>),
    Literal(Value),
    Function(String),
}

#[derive(Debug, Clone)]
pub(super) enum Start {
    Dot,
    Variable(String),
    Group(Box<Pipeline>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Field(String),
    Dot,
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Assign,
    Comma,
}

enum Piece {
    Text(String),
    Action(String),
}

fn error<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

pub(super) fn template(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces(text)?.into_iter().peekable();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        End::Text => Ok(nodes),
        End::Keyword(word, _) => error(format!("unexpected {{{{{word}}}}}")),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while !rest.is_empty() {
        let (before, action) = match rest.split_once("{{") {
            Some((before, action)) => (before, Some(action)),
            None => (rest, None),
        };
        let mut before = if trim_next {
            before.trim_start()
        } else {
            before
        }
        .to_owned();
        let Some(action) = action else {
            pieces.push(Piece::Text(before));
            break;
        };
        let Some((inside, after)) = split_action(action) else {
            return error("unclosed action");
        };
        let mut inside = inside;
        if let Some(trimmed) = inside.strip_prefix("- ") {
            inside = trimmed;
            before = before.trim_end().to_owned();
        }
        trim_next = false;
        if let Some(trimmed) = inside.strip_suffix(" -") {
            inside = trimmed;
            trim_next = true;
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let inside = inside.trim();
        if !(inside.starts_with("/*") && inside.ends_with("*/")) {
            pieces.push(Piece::Action(inside.to_owned()));
        }
        rest = after;
    }
    Ok(pieces)
}

/// Splits at the `}}` that is in no string.
fn split_action(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'`') => quote = Some(bytes[at]),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => {
                return Some((&text[..at], &text[at + 2..]));
            }
            _ => {}
        }
        at += 1;
    }
    None
}

enum End {
    Text,
    Keyword(String, Vec<Token>),
}

type Pieces = std::iter::Peekable<std::vec::IntoIter<Piece>>;

fn block(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, End), TemplateError> {
    if depth > DEEPEST {
        return error("nested too deeply");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let mut tokens = tokens(&action)?;
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match keyword.as_str() {
            "end" | "else" => {
                tokens.remove(0);
                return Ok((nodes, End::Keyword(keyword, tokens)));
            }
            "if" => nodes.push(branches(&tokens[1..], pieces, depth)?),
            "range" | "with" => {
                let head = pipeline(&tokens[1..], depth)?;
                let (body, end) = block(pieces, depth + 1)?;
                let (otherwise, end) = match end {
                    End::Keyword(word, _) if word == "else" => block(pieces, depth + 1)?,
                    end => (Vec::new(), end),
                };
                expect_end(&end, &keyword)?;
                nodes.push(if keyword == "range" {
                    Node::Range(head, body, otherwise)
                } else {
                    Node::With(head, body, otherwise)
                });
            }
            "define" | "template" | "block" | "break" | "continue" => {
                return error(format!("{{{{{keyword}}}}} is not supported"));
            }
            _ => nodes.push(Node::Action(pipeline(&tokens, depth)?)),
        }
    }
    Ok((nodes, End::Text))
}

fn branches(condition: &[Token], pieces: &mut Pieces, depth: usize) -> Result<Node, TemplateError> {
    let mut all = Vec::new();
    let mut condition = Some(pipeline(condition, depth)?);
    loop {
        let (body, end) = block(pieces, depth + 1)?;
        let is_else = condition.is_none();
        all.push((condition, body));
        match end {
            End::Keyword(word, rest) if word == "else" && !is_else => {
                condition = match rest.first() {
                    None => None,
                    Some(Token::Word(word)) if word == "if" => Some(pipeline(&rest[1..], depth)?),
                    Some(_) => return error("unexpected words after else"),
                };
            }
            end => {
                expect_end(&end, "if")?;
                return Ok(Node::If(all));
            }
        }
    }
}

fn expect_end(end: &End, of: &str) -> Result<(), TemplateError> {
    match end {
        End::Keyword(word, _) if word == "end" => Ok(()),
        End::Keyword(word, _) => error(format!("unexpected {{{{{word}}}}} in {{{{{of}}}}}")),
        End::Text => error(format!("{{{{{of}}}}} without {{{{end}}}}")),
    }
}

fn pipeline(tokens: &[Token], depth: usize) -> Result<Pipeline, TemplateError> {
    if depth > DEEPEST {
        return error("nested too deeply");
    }
    let (variables, tokens) = match tokens {
        [Token::Variable(name), Token::Assign, rest @ ..] => (vec![name.clone()], rest),
        [
            Token::Variable(first),
            Token::Comma,
            Token::Variable(second),
            Token::Assign,
            rest @ ..,
        ] => (vec![first.clone(), second.clone()], rest),
        rest => (Vec::new(), rest),
    };
    let mut commands = vec![Vec::new()];
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == Token::Pipe {
            commands.push(Vec::new());
            at += 1;
            continue;
        }
        let (operand, next) = operand(tokens, at, depth)?;
        if let Some(command) = commands.last_mut() {
            command.push(operand);
        }
        at = next;
    }
    if commands.iter().any(Vec::is_empty) {
        return error("missing value for command");
    }
    Ok(Pipeline {
        variables,
        commands,
    })
}

fn operand(tokens: &[Token], at: usize, depth: usize) -> Result<(Operand, usize), TemplateError> {
    let mut next = at + 1;
    let start = match &tokens[at] {
        Token::Literal(value) => return Ok((Operand::Literal(value.clone()), next)),
        Token::Word(word) => return Ok((Operand::Function(word.clone()), next)),
        Token::Dot => return Ok((Operand::Fields(Start::Dot, Vec::new()), next)),
        Token::Field(name) => {
            let mut fields = vec![name.clone()];
            next = follow(tokens, next, &mut fields);
            return Ok((Operand::Fields(Start::Dot, fields), next));
        }
        Token::Variable(name) => Start::Variable(name.clone()),
        Token::Open => {
            let close = closing(tokens, at)?;
            next = close + 1;
            Start::Group(Box::new(pipeline(&tokens[at + 1..close], depth + 1)?))
        }
        other => return error(format!("unexpected {other:?}")),
    };
    let mut fields = Vec::new();
    next = follow(tokens, next, &mut fields);
    Ok((Operand::Fields(start, fields), next))
}

/// Takes the fields that stand right behind a value: the lexer marks them with a leading dot.
fn follow(tokens: &[Token], mut at: usize, fields: &mut Vec<String>) -> usize {
    while let Some(Token::Field(name)) = tokens.get(at) {
        let Some(joined) = name.strip_prefix('.') else {
            break;
        };
        fields.push(joined.to_owned());
        at += 1;
    }
    at
}

fn closing(tokens: &[Token], open: usize) -> Result<usize, TemplateError> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Open => depth += 1,
            Token::Close => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => {}
        }
        if depth > DEEPEST {
            return error("nested too deeply");
        }
    }
    error("unclosed left paren")
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let characters: Vec<char> = action.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let character = characters[at];
        let joined = at > 0 && !characters[at - 1].is_whitespace();
        match character {
            _ if character.is_whitespace() => at += 1,
            '|' => push(&mut tokens, Token::Pipe, &mut at),
            '(' => push(&mut tokens, Token::Open, &mut at),
            ')' => push(&mut tokens, Token::Close, &mut at),
            ',' => push(&mut tokens, Token::Comma, &mut at),
            ':' if characters.get(at + 1) == Some(&'=') => {
                at += 1;
                push(&mut tokens, Token::Assign, &mut at);
            }
            '"' | '`' => {
                let (text, next) = quoted(&characters, at)?;
                tokens.push(Token::Literal(Value::String(text)));
                at = next;
            }
            '.' => {
                let (name, next) = word(&characters, at + 1);
                tokens.push(if name.is_empty() {
                    Token::Dot
                } else if joined && follows_value(tokens.last(), characters[at - 1]) {
                    Token::Field(format!(".{name}"))
                } else {
                    Token::Field(name)
                });
                at = next;
            }
            '$' => {
                let (name, next) = word(&characters, at + 1);
                tokens.push(Token::Variable(name));
                at = next;
            }
            '-' | '0'..='9' => {
                let (number, next) = number(&characters, at)?;
                tokens.push(Token::Literal(number));
                at = next;
            }
            _ if character.is_alphabetic() || character == '_' => {
                let (name, next) = word(&characters, at);
                tokens.push(match name.as_str() {
                    "true" => Token::Literal(Value::Bool(true)),
                    "false" => Token::Literal(Value::Bool(false)),
                    "nil" => Token::Literal(Value::Null),
                    _ => Token::Word(name),
                });
                at = next;
            }
            other => return error(format!("unexpected {other:?}")),
        }
    }
    if tokens.is_empty() {
        return error("missing value for command");
    }
    Ok(tokens)
}

fn push(tokens: &mut Vec<Token>, token: Token, at: &mut usize) {
    tokens.push(token);
    *at += 1;
}

fn follows_value(last: Option<&Token>, before: char) -> bool {
    before != '('
        && matches!(
            last,
            Some(Token::Field(_) | Token::Variable(_) | Token::Close)
        )
}

fn word(characters: &[char], from: usize) -> (String, usize) {
    let name: String = characters[from..]
        .iter()
        .take_while(|character| character.is_alphanumeric() || **character == '_')
        .collect();
    let next = from + name.chars().count();
    (name, next)
}

fn number(characters: &[char], from: usize) -> Result<(Value, usize), TemplateError> {
    let text: String = characters[from..]
        .iter()
        .take_while(|character| {
            character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '+')
        })
        .collect();
    let value = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => Value::from(number),
        (_, Ok(number)) => Value::from(number),
        _ => return error(format!("bad number syntax: {text:?}")),
    };
    Ok((value, from + text.chars().count()))
}

fn quoted(characters: &[char], from: usize) -> Result<(String, usize), TemplateError> {
    let quote = characters[from];
    let mut text = String::new();
    let mut at = from + 1;
    while let Some(&character) = characters.get(at) {
        at += 1;
        if character == quote {
            return Ok((text, at));
        }
        if character == '\\' && quote == '"' {
            let escaped = characters.get(at).copied().unwrap_or('\\');
            at += 1;
            text.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
        } else {
            text.push(character);
        }
    }
    error("unterminated quoted string")
}
