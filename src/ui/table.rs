//! Tables as docker prints them: columns of one width, no borders, the last column as it is.

use unicode_width::UnicodeWidthStr as _;

/// How wide columns are at least, the padding included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Docker's formatter: at least 10 wide.
    Docker,
    /// Compose's own sections (`ls`, `images`): at least 20 wide.
    Section,
    /// `top`: at least 4 wide, padding 2.
    Compact,
}

impl Style {
    fn minimum(self) -> usize {
        match self {
            Style::Docker => 10,
            Style::Section => 20,
            Style::Compact => 4,
        }
    }

    fn padding(self) -> usize {
        match self {
            Style::Docker | Style::Section => 3,
            Style::Compact => 2,
        }
    }
}

/// Lays out lines of cells; each line ends with a line feed.
pub(crate) fn render(rows: &[Vec<String>], style: Style) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter(|row| column + 1 < row.len())
                .map(|row| row[column].width() + style.padding())
                .max()
                .unwrap_or(0)
                .max(style.minimum())
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let pad = widths[column].saturating_sub(cell.width());
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

/// Cuts a text to `width` columns, the last one an ellipsis when something was cut.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        cut.push(character);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_dockers() {
        let rows = [
            row(&["NAME", "IMAGE", "PORTS"]),
            row(&["a-longer-name", "b", ""]),
        ];
        assert_eq!(
            render(&rows, Style::Docker),
            "NAME            IMAGE     PORTS\na-longer-name   b         \n"
        );
    }

    #[test]
    fn an_ellipsis_takes_the_last_column() {
        assert_eq!(ellipsis("sleep 1000", 6), "sleep…");
        assert_eq!(ellipsis("sleep", 5), "sleep");
        assert_eq!(ellipsis("日本語", 4), "日…");
    }
}
