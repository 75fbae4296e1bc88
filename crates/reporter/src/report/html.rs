//! Pieces of HTML.

use std::fmt::Display;

use crate::plot::{Format, PlotKind, Subject};

/// Returns a text with HTML's own signs replaced.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns a figure as it is shown, with its exact value for programs.
pub(super) fn figure(value: impl Display, shown: &str) -> String {
    format!("<data value=\"{value}\">{}</data>", escaped(shown))
}

/// Returns a table in a box that scrolls by itself on narrow screens. Header cells are texts, others are HTML. The first
/// cell of each row names it.
pub(super) fn table(caption: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: String = header.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect();
    let row = |cells: Vec<String>| {
        let mut cells = cells.into_iter();
        let name = cells.next().map(|name| format!("<th scope=\"row\">{name}</th>")).unwrap_or_default();
        let others: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{name}{others}</tr>\n")
    };
    let body: String = rows.into_iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption>\
         <thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n",
        escaped(caption)
    )
}

/// Returns a list of facts: names are texts, facts are HTML.
pub(super) fn facts(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let fact = |(name, fact): (&str, String)| format!("<div><dt>{}</dt><dd>{fact}</dd></div>\n", escaped(name));
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.into_iter().map(fact).collect::<String>())
}

/// Returns a section with a heading.
pub(super) fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{}</h2>\n{content}</section>\n", escaped(title))
}

/// Returns a paragraph of HTML.
pub(super) fn paragraph(content: &str) -> String {
    format!("<p>{content}</p>\n")
}

/// Returns a picture for wide screens and paper, and its narrow form for phones, with a caption on how to read it. Empty
/// if there is nothing to draw.
pub(super) fn picture(subject: &Subject, kind: PlotKind, how_to_read: &[&str]) -> String {
    if !subject.has(kind) {
        return String::new();
    }
    let [wide, narrow] = [Format::Wide, Format::Narrow].map(|format| subject.draw(kind, format).to_element());
    let hints: String = how_to_read.iter().map(|hint| format!("<li>{}</li>", escaped(hint))).collect();
    format!(
        "<figure>\n<div class=\"wide\">{wide}</div>\n<div class=\"narrow\">{narrow}</div>\n\
         <figcaption><b>How to read it</b><ul>{hints}</ul></figcaption>\n</figure>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_html_are_replaced() {
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
        assert_eq!(figure(0.000_4, "0.04 %"), "<data value=\"0.0004\">0.04 %</data>");
    }
}
