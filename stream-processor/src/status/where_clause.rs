//! Finds the condition in a statement that was accepted already, to show it.
//!
//! The job's grammar owns what a condition means; this only cuts text, and shows nothing rather than half.

/// The condition of `sql`, in one line, without comments; `None` when there is none.
pub(super) fn where_clause(sql: &str) -> Option<String> {
    let plain = on_one_line(sql);
    let mut quote = None;
    let mut depth = 0_u32;
    let mut begin = None;
    for (at, c) in plain.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) if depth == 0 && is_where(&plain, at) => begin = Some(at + "where".len()),
            _ => {}
        }
    }
    let condition = plain.get(begin?..)?.trim().trim_end_matches(';').trim_end();
    Some(condition.to_owned())
}

/// Whether the word WHERE stands at `at`.
fn is_where(text: &str, at: usize) -> bool {
    let end = at + "where".len();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.get(..at).and_then(|text| text.chars().next_back());
    let after = text.get(end..).and_then(|text| text.chars().next());
    text.get(at..end).is_some_and(|word| word.eq_ignore_ascii_case("where"))
        && !before.is_some_and(is_word)
        && !after.is_some_and(is_word)
}

/// The statement on one line: comments and runs of white space become one space, quoted texts stay.
fn on_one_line(sql: &str) -> String {
    let mut line = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let (length, blank) = match c {
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), true),
            '/' if rest.starts_with("/*") => {
                (rest.find("*/").map_or(rest.len(), |at| at + 2), true)
            }
            '\'' | '"' | '`' => {
                let body = rest.get(1..).unwrap_or_default();
                (body.find(c).map_or(rest.len(), |at| at + 2), false)
            }
            _ => (c.len_utf8(), c.is_whitespace()),
        };
        let (part, left) = rest.split_at(length);
        if !blank {
            line.push_str(part);
        } else if !line.ends_with(' ') {
            line.push(' ');
        }
        rest = left;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, found: Option<&str>) {
        assert_eq!(where_clause(sql).as_deref(), found, "{sql}");
    }

    #[test]
    fn the_condition_is_found_and_nothing_else_is_taken_for_it() {
        check("INSERT INTO a SELECT b FROM c", None);
        check(
            "INSERT INTO a SELECT b FROM c\nWHERE b > 1\n  AND c = 'x  y';",
            Some("b > 1 AND c = 'x  y'"),
        );
        check("INSERT INTO a SELECT 'where' AS x FROM c where y", Some("y"));
        check("INSERT INTO a SELECT b -- WHERE not\nFROM c /* WHERE neither */ WHERE b", Some("b"));
        check("INSERT INTO a SELECT nowhere, where_ FROM c", None);
        check(
            "INSERT INTO a SELECT b FROM c WHERE d = 'it''s where' -- end",
            Some("d = 'it''s where'"),
        );
        check("SELECT 'ü' FROM c WHERE d = 'ö'", Some("d = 'ö'"));
    }
}
