//! Text → tokens, and how tokens are spoken of in errors.

use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace,
};

use super::error::{JobError, Result};

/// The lexical rules of Flink SQL: backticks quote names, single quotes make texts.
#[derive(Debug)]
pub(super) struct Flink;

impl Dialect for Flink {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`'
    }
}

/// Splits a job file into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&Flink, text)
        .tokenize_with_location()
        .map_err(|err| JobError::at_location(err.location, err.message))?;
    refuse_look_alikes(text, &tokens)?;
    refuse_endless(&tokens)?;
    Ok(tokens)
}

/// Refuses what `sqlparser` takes for something else: a hint looks like a comment, but changes what
/// Flink does; `!=` looks like `<>`, but Flink has no such operator.
fn refuse_look_alikes(text: &str, tokens: &[TokenWithSpan]) -> Result<()> {
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::Whitespace(Whitespace::MultiLineComment(comment))
                if comment.starts_with('+') =>
            {
                return Err(JobError::at(*span, "a hint (`/*+ … */`) is not supported")
                    .hint("put the setting into the WITH clause"));
            }
            Token::Neq if slice(text, span.start, span.end) == "!=" => {
                return Err(JobError::at(*span, "`!=` is not supported").hint("write <>"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Words and signs in one expression, those of its lists left out. Expressions are trees, and a chain of operators is
/// as deep as it is long: beyond this the stack would not hold it.
const WORDS_MAX: usize = 1_000;
/// Parentheses in each other. `sqlparser` reads what it does not understand twice in each of them.
const NESTED_MAX: usize = 16;

/// Refuses an expression, or a type, that is too long to be worked on.
fn refuse_endless(tokens: &[TokenWithSpan]) -> Result<()> {
    // Words since the last comma, for each parenthesis that is open.
    let mut open = vec![0_usize];
    let mut words = 0;
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::SemiColon => {
                open = vec![0];
                words = 0;
            }
            Token::LParen => open.push(0),
            Token::RParen if open.len() > 1 => words -= open.pop().unwrap_or_default(),
            Token::Comma => words -= open.last_mut().map(std::mem::take).unwrap_or_default(),
            _ => {
                words += 1;
                if let Some(here) = open.last_mut() {
                    *here += 1;
                }
            }
        }
        // The first of `open` is outside of all parentheses.
        if open.len() > NESTED_MAX + 1 {
            let text = format!("more than {NESTED_MAX} parentheses in each other");
            return Err(JobError::at(*span, text).hint("close one, or write the condition flatter"));
        }
        if words > WORDS_MAX {
            return Err(JobError::at(
                *span,
                format!("an expression of more than {WORDS_MAX} words"),
            )
            .hint("write a list as IN (…), or split the job into several INSERTs"));
        }
    }
    Ok(())
}

/// The place after the last character.
pub(super) fn end(text: &str) -> Location {
    let last = text.rsplit('\n').next().unwrap_or_default();
    let line = text.matches('\n').count() as u64 + 1;
    Location { line, column: last.chars().count() as u64 + 1 }
}

/// The word in upper case, unless it is quoted.
pub(super) fn word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

pub(super) fn expected(what: &str, found: &TokenWithSpan) -> JobError {
    let found_text = match &found.token {
        Token::EOF => "the end of the file".to_owned(),
        token => format!("`{token}`"),
    };
    JobError::at(found.span, format!("expected {what}, found {found_text}"))
}

pub(super) fn refused_statement(token: &TokenWithSpan) -> JobError {
    JobError::at(token.span, format!("a {} statement is not supported", token.token))
}

pub(super) fn refused_clause(token: &TokenWithSpan) -> JobError {
    JobError::at(token.span, format!("{} is not supported", token.token))
}

/// An error of `sqlparser`, whose place is the last thing in its text; else it is about `next`.
pub(super) fn syntax(err: &ParserError, next: Span) -> JobError {
    let text = match err {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the expression is nested too deeply",
    };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return JobError::at(next, lower_first(text));
    };
    let mut numbers = place.split(", Column: ").map(|number| number.trim().parse().unwrap_or(0));
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    JobError::at_location(Location { line, column }, lower_first(message))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

/// The text from one place up to another; places count characters.
pub(super) fn slice(text: &str, start: Location, end: Location) -> String {
    let mut at = Location { line: 1, column: 1 };
    let inside = |ch: &char| {
        let keep = at >= start && at < end;
        at = match ch {
            '\n' => Location { line: at.line + 1, column: 1 },
            _ => Location { line: at.line, column: at.column + 1 },
        };
        keep
    };
    text.chars().filter(inside).collect()
}
