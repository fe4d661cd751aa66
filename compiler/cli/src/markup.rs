//! Text inside XML and HTML.

/// `text` with the characters that would end it or begin something else spelt out.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
