//! What is wrong with a recipe, and where.

use std::ops::Range;

/// Why a recipe is refused.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[error("{file}:{line}:{column}: {message}")]
pub struct RecipeError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
    #[source_code]
    source_code: String,
    #[label("here")]
    span: miette::SourceSpan,
}

/// A recipe's text and file, to say where something is.
pub(super) struct Place<'t> {
    pub(super) text: &'t str,
    pub(super) file: &'t str,
}

impl Place<'_> {
    /// An error about the bytes in `span`.
    pub(super) fn error(&self, span: Range<usize>, message: String) -> RecipeError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let last = before.rfind('\n').map_or(0, |i| i + 1);
        RecipeError {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[last..].chars().count() + 1,
            message,
            source_code: self.text.to_owned(),
            span: span.into(),
        }
    }

    /// What the TOML reader says; `start` is where, if it does not know.
    pub(super) fn toml(&self, error: &toml::de::Error, start: usize) -> RecipeError {
        self.error(
            error.span().unwrap_or(start..start),
            error.message().to_owned(),
        )
    }
}
