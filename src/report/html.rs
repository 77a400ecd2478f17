//! Pages from templates. Whatever a name or a value of a run contains is text there: nothing in it
//! is markup, and what would turn its surroundings around (controls, marks of direction) is shown
//! as its number.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, escape_formatter};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write;

/// The page of a template that is part of this program.
pub(super) fn render(template: &str, view: impl Serialize) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(raw) if !value.is_safe() => {
            escape_formatter(out, state, &Value::from(shown(raw).as_ref()))
        }
        _ => escape_formatter(out, state, value),
    });
    let page = environment.template_from_named_str("page.html", template);
    let page = page.and_then(|template| template.render(view));
    page.expect("the template is part of this program, and so are its names")
}

/// Text in which everything can be seen.
fn shown(raw: &str) -> Cow<'_, str> {
    if !raw.chars().any(hidden) {
        return raw.into();
    }
    let mut text = String::with_capacity(raw.len() + 16);
    for c in raw.chars() {
        if hidden(c) {
            let _ = write!(text, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.into()
}

fn hidden(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(u32::from(c),
            0x061c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn text_is_shown_and_never_acts() {
        let page = |name: &str| render("{{ name }}", context! { name });
        assert_eq!(page("n1"), "n1");
        assert_eq!(page("<b>\"a\" & 'b'"), "&lt;b&gt;&quot;a&quot; &amp; &#x27;b&#x27;");
        assert_eq!(page("a\u{202e}b\u{0}"), "a⟨U+202E⟩b⟨U+0000⟩");
        assert_eq!(render("{{ n }} {{ raw|safe }}", context! { n => 7, raw => "<i>" }), "7 <i>");
    }
}
