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

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn tidy(cell: String) -> String {
    match cell.split_once('\n') {
        Some((first, _)) => format!("{first}..."),
        None if cell.is_empty() => "<none>".to_owned(),
        None => cell,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || self.heads.iter().chain(&self.rows);
        let mut widths: Vec<usize> = Vec::new();
        for line in lines() {
            widths.resize(widths.len().max(line.len()), LEAST);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        for line in lines() {
            let last = line.len().saturating_sub(1);
            for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
                if at < last {
                    write!(f, "{cell:<width$}")?;
                } else {
                    f.write_str(cell)?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
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
    fn letters_count_not_bytes() {
        let mut table = Table::new(["NAME", "X"]);
        table.push(["größe", "1"]);
        assert_eq!(table.to_string(), "NAME    X\ngröße   1\n");
    }
}
