//! What a job file holds, as it was written: shapes without meaning.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};
use datafusion::sql::sqlparser::tokenizer::Span;

/// What a job file holds, as it was written.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) tables: Vec<CreateTable>,
    pub(super) inserts: Vec<Insert>,
    /// Where the text ends.
    pub(super) end: Span,
}

#[derive(Debug)]
pub(super) struct CreateTable {
    pub(super) name: Ident,
    pub(super) columns: Vec<ColumnDef>,
    pub(super) options: Vec<TableOption>,
    /// The closing parenthesis of the options.
    pub(super) end: Span,
}

#[derive(Debug)]
pub(super) struct ColumnDef {
    pub(super) name: Ident,
    pub(super) data_type: DataType,
    pub(super) type_span: Span,
    pub(super) nullable: bool,
    /// `METADATA`, with the key after `FROM` or else the column's own name.
    pub(super) metadata: Option<(String, Span)>,
}

#[derive(Debug)]
pub(super) struct TableOption {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: String,
    pub(super) value_span: Span,
}

#[derive(Debug)]
pub(super) struct Insert {
    pub(super) table: Vec<Ident>,
    pub(super) items: Vec<SelectItem>,
    pub(super) from: Ident,
    pub(super) from_alias: Option<Ident>,
    pub(super) filter: Option<Expr>,
    /// The statement as it was written.
    pub(super) sql: String,
    /// Where its table is named.
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct SelectItem {
    pub(super) expr: Expr,
    pub(super) span: Span,
    pub(super) alias: Option<Ident>,
}
