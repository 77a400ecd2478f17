//! Colours, and what stands in their place where there are none. Whatever a colour says stands in
//! words as well.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours at all.
    pub color: bool,
}

impl Theme {
    /// As the environment asks for: <https://no-color.org>.
    #[must_use]
    pub fn found() -> Self {
        Self { color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn colored(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// What a reader should see first.
    #[must_use]
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is there to be looked up.
    #[must_use]
    pub fn faint(self) -> Style {
        if self.color { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    /// Heads of columns.
    #[must_use]
    pub fn head(self) -> Style {
        self.colored(Color::Cyan)
    }

    /// Somebody leads, something acts as it was asked to.
    #[must_use]
    pub fn good(self) -> Style {
        self.colored(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// Something is on its way, or late.
    #[must_use]
    pub fn late(self) -> Style {
        self.colored(Color::Yellow)
    }

    /// Something is lost, down, or refused.
    #[must_use]
    pub fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Where keys go.
    #[must_use]
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The frame of a pane; of the one that keys go to.
    #[must_use]
    pub fn frame(self, has_focus: bool) -> Style {
        if has_focus {
            self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
        } else {
            self.faint()
        }
    }
}
