//! Words that Flink SQL does not take as bare names.
//!
//! The list is the part of Flink's reserved words that sounds like a column, a clause or a function;
//! a name on it needs backticks there, so it needs them here.

/// Sorted, in upper case.
const RESERVED: &[&str] = &[
    "ABS", "ALL", "ALTER", "AND", "ANY", "ARRAY", "AS", "ASYMMETRIC", "AT", "AVG", "BEGIN",
    "BETWEEN", "BIGINT", "BINARY", "BOOLEAN", "BOTH", "BY", "BYTES", "CALL", "CASE", "CAST",
    "CATALOGS", "CEIL", "CHAR", "CHARACTER", "CHECK", "COALESCE", "COLLATE", "COLUMN", "COMMENT",
    "CONDITION", "CONNECT", "CONSTRAINT", "CONVERT", "COUNT", "CREATE", "CROSS", "CUBE", "CURRENT",
    "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CYCLE", "DATE", "DAY", "DEC", "DECIMAL",
    "DEFAULT", "DELETE", "DESCRIBE", "DISTINCT", "DOUBLE", "DROP", "EACH", "ELEMENT", "ELSE", "END",
    "ESCAPE", "EXCEPT", "EXECUTE", "EXISTS", "EXPLAIN", "EXTRACT", "FALSE", "FETCH", "FILTER",
    "FIRST_VALUE", "FLOAT", "FLOOR", "FOR", "FROM", "FULL", "FUNCTION", "GET", "GLOBAL", "GROUP",
    "GROUPING", "GROUPS", "HAVING", "HOUR", "IDENTITY", "IN", "INDICATOR", "INNER", "INSERT", "INT",
    "INTEGER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "LANGUAGE", "LAST_VALUE", "LATERAL",
    "LEADING", "LEFT", "LIKE", "LIMIT", "LOCAL", "LOCALTIME", "LOCALTIMESTAMP", "LOWER", "MATCH",
    "MAX", "MEASURES", "MERGE", "METHOD", "MIN", "MINUTE", "MOD", "MODULE", "MODULES", "MONTH",
    "MULTISET", "NATURAL", "NEXT", "NO", "NONE", "NOT", "NULL", "NULLIF", "NUMERIC", "OF", "OFFSET",
    "ON", "ONE", "ONLY", "OR", "ORDER", "OUT", "OUTER", "OVER", "OVERLAPS", "OVERLAY", "PARAMETER",
    "PARTITION", "PARTITIONED", "PARTITIONS", "PERCENT", "PERIOD", "POSITION", "POWER", "PRECISION",
    "PRIMARY", "QUALIFY", "RANGE", "RANK", "RAW", "REAL", "REFERENCES", "RESET", "RESULT", "RETURN",
    "RIGHT", "ROLLUP", "ROW", "ROWS", "SCOPE", "SEARCH", "SECOND", "SELECT", "SET", "SHOW",
    "SIMILAR", "SMALLINT", "SOME", "SQL", "START", "STATEMENT", "STATIC", "STRING", "SUBMULTISET",
    "SUBSTRING", "SUM", "SYMMETRIC", "SYSTEM", "SYSTEM_TIME", "TABLE", "TABLES", "TABLESAMPLE",
    "THEN", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "TINYINT", "TO", "TRAILING", "TRANSLATE", "TRIM",
    "TRUE", "TRUNCATE", "UESCAPE", "UNION", "UNIQUE", "UNKNOWN", "UNNEST", "UPDATE", "UPPER",
    "UPSERT", "USE", "USER", "USING", "VALUE", "VALUES", "VARBINARY", "VARCHAR", "VERSIONING",
    "VIEW", "VIEWS", "WATERMARK", "WATERMARKS", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN",
    "WITHOUT", "YEAR",
];

/// Whether `word` needs backticks to be a name.
pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word.to_uppercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::RESERVED;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(RESERVED.is_sorted());
    }
}
