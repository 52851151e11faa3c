//! The few elements that the page is made of.

use std::fmt::Write;

/// Text as HTML, in elements and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// An SVG drawing with what it shows for those who do not see it.
pub fn figure(svg: &str, description: &str, caption: &str) -> String {
    let described = svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(description)),
        1,
    );
    let caption = match caption {
        "" => String::new(),
        text => format!("<figcaption>{}</figcaption>", escaped(text)),
    };
    format!("<figure>{described}{caption}</figure>\n")
}

/// A table's cell.
pub enum Cell {
    /// A number, right-aligned.
    Number(String),
    /// Words, left-aligned.
    Text(String),
    /// Words that may take several lines.
    Words(String),
    /// A share beside its number: number, share from 0 to 1.
    Share(String, f64),
    /// A bar: share from 0 to 1, colour.
    Bar(f64, String),
    /// Words behind a coloured square.
    Keyed(String, String),
    /// Words one step further in.
    Sub(String),
    /// A heading over so many columns.
    Heading(String, usize),
}

impl Cell {
    fn html(&self) -> String {
        let percent = |share: f64| {
            let share = if share.is_finite() { share } else { 0.0 };
            format!("{:.2}%", 100.0 * share.clamp(0.0, 1.0))
        };
        match self {
            Self::Number(text) => format!("<td>{}</td>", escaped(text)),
            Self::Text(text) => format!("<td class=\"text\">{}</td>", escaped(text)),
            Self::Words(text) => format!("<td class=\"text wrap\">{}</td>", escaped(text)),
            Self::Share(text, share) => format!(
                "<td class=\"share\">{}<em><i style=\"width:{}\"></i></em></td>",
                escaped(text),
                percent(*share)
            ),
            Self::Bar(share, colour) => format!(
                "<td class=\"bar\"><i style=\"width:{};background:{colour}\"></i></td>",
                percent(*share)
            ),
            Self::Keyed(text, colour) => format!(
                "<td class=\"text\"><span class=\"swatch\" style=\"background:{colour}\"></span>{}</td>",
                escaped(text)
            ),
            Self::Heading(text, columns) => {
                format!(
                    "<th class=\"text\" colspan=\"{columns}\">{}</th>",
                    escaped(text)
                )
            }
            Self::Sub(text) => format!("<td class=\"text sub\">{}</td>", escaped(text)),
        }
    }
}

/// A table; headings that begin with `<` are those of left-aligned columns. Rows come with whether
/// they stand out.
pub fn table(headings: &[&str], rows: &[(bool, Vec<Cell>)]) -> String {
    let mut text = String::from("<div class=\"scroll\"><table>");
    if headings.iter().any(|heading| !heading.is_empty()) {
        text.push_str("<thead><tr>");
        for heading in headings {
            let _ = match heading.strip_prefix('<') {
                Some(left) => write!(text, "<th class=\"text\">{}</th>", escaped(left)),
                None => write!(text, "<th>{}</th>", escaped(heading)),
            };
        }
        text.push_str("</tr></thead>");
    }
    text.push_str("<tbody>");
    for (odd, cells) in rows {
        text.push_str(if *odd { "<tr class=\"odd\">" } else { "<tr>" });
        cells.iter().for_each(|cell| text.push_str(&cell.html()));
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table></div>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_run_becomes_markup() {
        assert_eq!(
            escaped("<a b='c'>&\""),
            "&lt;a b=&#39;c&#39;&gt;&amp;&quot;"
        );
        let rows = [(
            false,
            vec![
                Cell::Text("<script>".into()),
                Cell::Share("x".into(), f64::NAN),
            ],
        )];
        let text = table(&["<left", "right"], &rows);
        assert!(
            !text.contains("<script>") && text.contains("width:0.00%"),
            "{text}"
        );
        assert!(text.contains("<th class=\"text\">left</th><th>right</th>"));
    }
}
