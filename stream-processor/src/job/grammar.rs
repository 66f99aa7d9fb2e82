//! Tokens → statements.
//!
//! Owns the shape of the three statements a job may hold. Whatever stands where this grammar has no
//! place for it is refused there, by line and column; nothing is parsed and then ignored. Names, types
//! and expressions come from `sqlparser`; their meaning is checked later, in `source` and `plan`.

use datafusion::sql::sqlparser::ast::{Expr, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::error::{JobError, Result};
use super::lexical::{self, Flink, expected, refused_clause, refused_statement, word};
use super::reserved;
use super::statements::{ColumnDef, CreateTable, Insert, Script, SelectItem, TableOption};

/// Reads a whole job file.
pub(super) fn parse(text: &str) -> Result<Script> {
    let tokens = lexical::tokens(text)?;
    let parser = Parser::new(&Flink).with_tokens_with_locations(tokens);
    let end = lexical::end(text);
    Statements { text, parser, end: Span::new(end, end) }.script()
}

struct Statements<'a> {
    text: &'a str,
    parser: Parser<'a>,
    end: Span,
}

impl Statements<'_> {
    /// The next token; the end of the file has a place, too.
    fn peek(&self) -> TokenWithSpan {
        let next = self.parser.peek_token();
        match next.token {
            Token::EOF => TokenWithSpan::new(Token::EOF, self.end),
            _ => next,
        }
    }

    fn script(mut self) -> Result<Script> {
        let (mut tables, mut inserts) = (Vec::new(), Vec::new());
        let mut in_set = false;
        loop {
            while self.parser.consume_token(&Token::SemiColon) {}
            let token = self.peek();
            match word(&token).as_deref() {
                None if token.token == Token::EOF && !in_set => {
                    return Ok(Script { tables, inserts, end: token.span });
                }
                Some("CREATE") if !in_set => tables.push(self.create_table()?),
                Some("INSERT") => inserts.push(self.insert()?),
                Some("EXECUTE") if !in_set => {
                    self.words(&["EXECUTE", "STATEMENT", "SET", "BEGIN"])?;
                    in_set = true;
                    continue;
                }
                Some("END") if in_set => {
                    self.words(&["END"])?;
                    in_set = false;
                }
                _ if in_set => return Err(expected("INSERT or END", &token)),
                Some("SET") => {
                    return Err(refused_statement(&token).hint(
                        "give settings to the process; SET belongs into Flink's own init file",
                    ));
                }
                Some("USE") => {
                    return Err(refused_statement(&token)
                        .hint("write the table's full name: catalog.namespace.table"));
                }
                Some("SELECT" | "WITH") => {
                    return Err(refused_statement(&token)
                        .hint("a job writes: INSERT INTO catalog.namespace.table SELECT …"));
                }
                _ => return Err(expected("CREATE TABLE or INSERT INTO", &token)),
            }
            self.end_of_statement()?;
        }
    }

    fn create_table(&mut self) -> Result<CreateTable> {
        self.words(&["CREATE"])?;
        let _ = self.parser.parse_keyword(Keyword::TEMPORARY);
        let token = self.peek();
        match word(&token).as_deref() {
            Some("TABLE") => self.words(&["TABLE"])?,
            Some("CATALOG") => {
                return Err(refused_statement(&token)
                    .hint("the catalog is a setting of the process: ICEBERG_CATALOG_URI"));
            }
            _ => return Err(expected("TABLE", &token)),
        }
        if self.parser.parse_keywords(&[Keyword::IF, Keyword::NOT]) {
            self.words(&["EXISTS"])?;
        }
        let name = self.name("a table name")?;
        self.token(&Token::LParen)?;
        let mut columns = vec![self.column()?];
        while self.parser.consume_token(&Token::Comma) {
            columns.push(self.column()?);
        }
        self.token(&Token::RParen)?;
        self.no_table_clause()?;
        self.words(&["WITH"])?;
        self.token(&Token::LParen)?;
        let mut options = vec![self.option()?];
        while self.parser.consume_token(&Token::Comma) {
            options.push(self.option()?);
        }
        let end = self.token(&Token::RParen)?;
        Ok(CreateTable { name, columns, options, end })
    }

    fn column(&mut self) -> Result<ColumnDef> {
        let token = self.peek();
        match word(&token).as_deref() {
            Some("WATERMARK") => {
                return Err(JobError::at(token.span, "WATERMARK is not supported")
                    .hint("remove it: a job that filters and projects keeps no event time"));
            }
            Some("PRIMARY" | "CONSTRAINT" | "UNIQUE" | "PERIOD") => {
                return Err(JobError::at(token.span, "a constraint is not supported")
                    .hint("remove it: events are appended as they come"));
            }
            _ => {}
        }
        let name = self.name("a column name")?;
        let token = self.peek();
        if word(&token).as_deref() == Some("AS") {
            return Err(JobError::at(token.span, "a computed column is not supported")
                .hint("write the expression in the SELECT list"));
        }
        if word(&token).as_deref() == Some("METADATA") {
            return Err(expected("a type", &token));
        }
        let type_span = token.span;
        let data_type = self.parser.parse_data_type().map_err(|err| self.syntax(&err))?;
        let nullable = self.nullability()?;
        let metadata = self.metadata(&name)?;
        if self.parser.parse_keyword(Keyword::COMMENT) {
            self.literal()?;
        }
        Ok(ColumnDef { name, data_type, type_span, nullable, metadata })
    }

    fn nullability(&mut self) -> Result<bool> {
        if self.parser.parse_keyword(Keyword::NOT) {
            self.words(&["NULL"])?;
            return Ok(false);
        }
        let _ = self.parser.parse_keyword(Keyword::NULL);
        Ok(true)
    }

    fn metadata(&mut self, name: &Ident) -> Result<Option<(String, Span)>> {
        let token = self.peek();
        if word(&token).as_deref() != Some("METADATA") {
            return Ok(None);
        }
        self.words(&["METADATA"])?;
        let key = if self.parser.parse_keyword(Keyword::FROM) {
            self.literal()?
        } else {
            (name.value.clone(), name.span)
        };
        if word(&self.peek()).as_deref() == Some("VIRTUAL") {
            self.words(&["VIRTUAL"])?;
        }
        Ok(Some(key))
    }

    fn no_table_clause(&mut self) -> Result<()> {
        let token = self.peek();
        let hint = match word(&token).as_deref() {
            Some("PARTITIONED" | "DISTRIBUTED") => "remove it: the topic has its own partitions",
            Some("COMMENT") => "use a comment: -- …",
            Some("LIKE" | "AS") => "write the columns out",
            _ => return Ok(()),
        };
        Err(refused_clause(&token).hint(hint))
    }

    fn option(&mut self) -> Result<TableOption> {
        let (key, key_span) = self.literal()?;
        self.token(&Token::Eq)?;
        let (value, value_span) = self.literal()?;
        Ok(TableOption { key, key_span, value, value_span })
    }

    fn insert(&mut self) -> Result<Insert> {
        let start = self.peek().span;
        self.words(&["INSERT"])?;
        let token = self.peek();
        if word(&token).as_deref() == Some("OVERWRITE") {
            return Err(refused_clause(&token).hint("a stream is appended: INSERT INTO"));
        }
        self.words(&["INTO"])?;
        let span = self.peek().span;
        let mut table = vec![self.name("a table name")?];
        while self.parser.consume_token(&Token::Period) {
            table.push(self.name("a table name")?);
        }
        let token = self.peek();
        if token.token == Token::LParen || word(&token).as_deref() == Some("PARTITION") {
            return Err(JobError::at(token.span, "a column list is not supported")
                .hint("name the columns in the SELECT list; the table has exactly those"));
        }
        self.words(&["SELECT"])?;
        let items = self.select_list()?;
        self.words(&["FROM"])?;
        let from = self.name("the source table")?;
        let from_alias = self.alias()?;
        let filter =
            if self.parser.parse_keyword(Keyword::WHERE) { Some(self.expr()?.0) } else { None };
        let end = self.parser.get_current_token().span;
        let sql = lexical::slice(self.text, start.start, end.end);
        Ok(Insert { table, items, from, from_alias, filter, sql, span })
    }

    fn select_list(&mut self) -> Result<Vec<SelectItem>> {
        let token = self.peek();
        if let Some("DISTINCT" | "ALL") = word(&token).as_deref() {
            return Err(refused_clause(&token)
                .hint("events are written as they come; remove duplicates when querying"));
        }
        let mut items = vec![self.select_item()?];
        while self.parser.consume_token(&Token::Comma) {
            items.push(self.select_item()?);
        }
        Ok(items)
    }

    fn select_item(&mut self) -> Result<SelectItem> {
        let token = self.peek();
        if token.token == Token::Mul {
            return Err(JobError::at(token.span, "`*` is not supported")
                .hint("name the columns: the table's schema should not change by accident"));
        }
        let (expr, span) = self.expr()?;
        let alias = self.alias()?;
        Ok(SelectItem { expr, span, alias })
    }

    /// `[AS] name`, unless the next word begins a clause.
    fn alias(&mut self) -> Result<Option<Ident>> {
        if self.parser.parse_keyword(Keyword::AS) {
            return self.name("a name").map(Some);
        }
        match &self.peek().token {
            Token::Word(next)
                if next.quote_style.is_some() || !reserved::is_reserved(&next.value) =>
            {
                self.name("a name").map(Some)
            }
            _ => Ok(None),
        }
    }

    fn expr(&mut self) -> Result<(Expr, Span)> {
        let span = self.peek().span;
        let expr = self.parser.parse_expr().map_err(|err| self.syntax(&err))?;
        Ok((expr, span))
    }

    fn name(&mut self, what: &str) -> Result<Ident> {
        let token = self.peek();
        let Token::Word(found) = &token.token else { return Err(expected(what, &token)) };
        if found.quote_style.is_none() && reserved::is_reserved(&found.value) {
            return Err(JobError::at(token.span, format!("`{}` is a reserved word", found.value))
                .hint(format!("expected {what}; a name like this needs backticks")));
        }
        self.parser.parse_identifier().map_err(|err| self.syntax(&err))
    }

    fn literal(&mut self) -> Result<(String, Span)> {
        let token = self.peek();
        let Token::SingleQuotedString(text) = &token.token else {
            return Err(expected("a text in single quotes", &token));
        };
        let found = (text.clone(), token.span);
        self.parser.next_token();
        Ok(found)
    }

    fn words(&mut self, words: &[&str]) -> Result<()> {
        for expected_word in words {
            let token = self.peek();
            if word(&token).as_deref() != Some(expected_word) {
                return Err(expected(expected_word, &token));
            }
            self.parser.next_token();
        }
        Ok(())
    }

    fn token(&mut self, wanted: &Token) -> Result<Span> {
        let token = self.peek();
        if !self.parser.consume_token(wanted) {
            return Err(expected(&format!("`{wanted}`"), &token));
        }
        Ok(token.span)
    }

    fn end_of_statement(&mut self) -> Result<()> {
        let token = self.peek();
        if matches!(token.token, Token::SemiColon | Token::EOF) {
            return Ok(());
        }
        Err(match word(&token).as_deref() {
            Some("GROUP" | "HAVING" | "WINDOW" | "ORDER" | "LIMIT" | "OFFSET" | "FETCH" | "UNION"
                | "JOIN" | "LEFT" | "INNER" | "CROSS" | "QUALIFY" | "INTERSECT" | "EXCEPT") => {
                refused_clause(&token)
                    .hint("a job filters and projects one record at a time; do the rest in the query engine, or run the file on Flink")
            }
            _ => expected("`;`", &token),
        })
    }

    fn syntax(&self, err: &ParserError) -> JobError {
        lexical::syntax(err, self.peek().span)
    }
}
