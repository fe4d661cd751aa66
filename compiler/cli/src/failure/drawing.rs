//! A diagnostic as people see it: with the line that it points at, coloured on a terminal as clap's own errors are.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use scnn_isa::diagnostic::{Diagnostic, Place};

/// The diagnostic with colours, which whoever prints it takes away where there is no terminal.
pub fn drawn(diagnostic: &Diagnostic) -> String {
    let title = Level::ERROR.primary_title(diagnostic.message.as_str());
    let mut group = Group::with_title(title.id(diagnostic.code.code));
    if let Some(location) = &diagnostic.location {
        group = match &location.place {
            Place::Line { line, column, text } => {
                let file = location.file.as_deref().unwrap_or("<input>");
                let at = byte_of_column(text, *column);
                let snippet = Snippet::source(text.as_str()).path(file).line_start(*line);
                group.element(snippet.annotation(AnnotationKind::Primary.span(at..at)))
            }
            _ => group.element(Origin::path(location.to_string())),
        };
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::styled().render(&[group])
}

/// The byte at which the `column`-th letter, from 1, of a line begins; its end where it has fewer.
fn byte_of_column(text: &str, column: usize) -> usize {
    let mut letters = text.char_indices();
    let found = letters.nth(column.saturating_sub(1));
    found.map_or(text.len(), |(byte, _)| byte)
}
