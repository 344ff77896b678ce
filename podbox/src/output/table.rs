//! Tables as kubectl prints them: columns three spaces apart, no lines, nothing behind the last cell.

use std::fmt;

/// What parts a column from the next.
const GAP: usize = 3;
/// The least width of a column with its gap, which kubectl has from Go's tabwriter.
const LEAST: usize = 6;

/// A table that grows by rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    heads: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these heads, which are printed as they are.
    pub fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Self {
        Self { heads: Some(heads.into_iter().map(Into::into).collect()), rows: Vec::new() }
    }

    /// The same table without its heads (`--no-headers`).
    #[must_use]
    pub fn without_heads(self) -> Self {
        Self { heads: None, ..self }
    }

    /// Adds a row. An empty cell is printed as `<none>`, of several lines only the first.
    pub fn push<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        self.rows.push(row.into_iter().map(|cell| tidy(cell.into())).collect());
    }

    /// Adds a row whose empty cells stay empty, as an API server's do.
    pub fn push_as_is<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        let cell = |cell: S| match cell.into() {
            empty if empty.is_empty() => empty,
            cell => tidy(cell),
        };
        self.rows.push(row.into_iter().map(cell).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, its columns at least as wide as those of the tables that were printed with the same widths before: a
    /// watch prints row after row, and they shall stand below each other.
    pub fn aligned(&self, widths: &mut Widths) -> String {
        let lines = || self.heads.iter().chain(&self.rows);
        for line in lines() {
            let missing = line.len().saturating_sub(widths.0.len());
            widths.0.extend(std::iter::repeat_n(LEAST, missing));
            for (width, cell) in widths.0.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        let mut text = String::new();
        for line in lines() {
            let last = line.len().saturating_sub(1);
            for (at, (cell, width)) in line.iter().zip(&widths.0).enumerate() {
                text.push_str(cell);
                if at < last {
                    text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// The widths of columns, remembered from one table to the next.
#[derive(Clone, Debug, Default)]
pub struct Widths(Vec<usize>);

fn tidy(cell: String) -> String {
    match cell.split_once('\n') {
        Some((first, _)) => format!("{first}..."),
        None if cell.is_empty() => "<none>".to_owned(),
        None => cell,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.aligned(&mut Widths::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_three_spaces_apart_and_lines_have_no_tail() {
        let mut table = Table::new(["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
        table.push(["liveness-http", "1/1", "Running", "3 (20s ago)", "2m10s"]);
        table.push(["web", "0/2", "ContainerCreating", "0", "5s"]);
        assert_eq!(
            table.to_string(),
            "NAME            READY   STATUS              RESTARTS      AGE\n\
             liveness-http   1/1     Running             3 (20s ago)   2m10s\n\
             web             0/2     ContainerCreating   0             5s\n"
        );
    }

    #[test]
    fn narrow_columns_keep_kubectls_least_width() {
        let mut table = Table::new(["A", "B"]);
        table.push(["1", "2"]);
        assert_eq!(table.to_string(), "A     B\n1     2\n");
        assert_eq!(table.without_heads().to_string(), "1     2\n");
    }

    #[test]
    fn a_cell_is_one_line_and_never_empty() {
        let mut table = Table::new(["A", "B"]);
        table.push(["", "first\nsecond"]);
        assert_eq!(table.to_string(), "A        B\n<none>   first...\n");
    }

    #[test]
    fn a_cell_may_stay_empty() {
        let mut table = Table::new(["A", "B", "C"]);
        table.push_as_is(["", "first\nsecond", ""]);
        assert_eq!(table.to_string(), "A     B          C\n      first...   \n");
    }

    #[test]
    fn a_later_table_stands_below_an_earlier_one() {
        let mut widths = Widths::default();
        let mut table = Table::new(["NAME", "STATUS"]);
        table.push(["a-long-name", "Pending"]);
        assert_eq!(table.aligned(&mut widths), "NAME          STATUS\na-long-name   Pending\n");
        let mut later = Table::default();
        later.push(["b", "Running"]);
        assert_eq!(later.aligned(&mut widths), "b             Running\n");
    }

    #[test]
    fn letters_count_not_bytes() {
        let mut table = Table::new(["NAME", "X"]);
        table.push(["größe", "1"]);
        assert_eq!(table.to_string(), "NAME    X\ngröße   1\n");
    }
}
