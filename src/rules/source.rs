//! The text of a rule or cluster file, with its lines; the one place here that reads files.
//!
//! It refuses what cannot be a rule file before reading it: directories, and anything larger
//! than [`SIZE_MAX`]. It does not look at the content; that is `document.rs`.

use super::diagnostic::Diagnostic;
use super::dist::DistTable;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes: room for 20,000 rules and their comments.
pub const SIZE_MAX: u64 = 4 << 20;

/// A named text that is to be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
    /// Whether it may name other files, which are read for it.
    names_files: bool,
}

impl Source {
    /// A text under the name that diagnostics give it, usually its path.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(starts.map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, lines, names_files: true }
    }

    /// The same from somebody for whom no files are to be read.
    #[must_use]
    pub fn without_files(self) -> Self {
        Self { names_files: false, ..self }
    }

    /// Reads a file. The diagnostic of a failure names it and says why.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let name = path.display().to_string();
        let fail = |why: &str| Diagnostic::error(format!("cannot read {name}: {why}"));
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(fail("there is no such file")
                    .help("check the path; relative paths start at the current directory"));
            }
            Err(error) => return Err(fail(&error.to_string())),
        };
        let about = file.metadata().map_err(|error| fail(&error.to_string()))?;
        if about.is_dir() {
            return Err(fail("it is a directory").help("name one YAML file"));
        }
        if about.len() > SIZE_MAX {
            return Err(too_large(&name, Some(about.len())));
        }
        // Pipes and files that grow have no honest length, so reading stops one byte past it.
        let mut bytes = Vec::new();
        file.by_ref()
            .take(SIZE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fail(&error.to_string()))?;
        if bytes.len() as u64 > SIZE_MAX {
            return Err(too_large(&name, None));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good].split(|b| *b == b'\n').count();
                Err(fail(&format!("line {line} is not UTF-8 (byte {good} of the file)"))
                    .help("save the file as UTF-8"))
            }
        }
    }

    /// What the text is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both counted from 1, columns in characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The text of a line counted from 1, without its end, and the byte offset of its start.
    pub(super) fn line(&self, line: usize) -> (usize, &str) {
        let start = self.lines[line - 1];
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        (start, self.text[start..end].trim_end_matches(['\n', '\r']))
    }

    /// The character boundary at or before an offset, inside the text.
    pub(super) fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

fn too_large(name: &str, size: Option<u64>) -> Diagnostic {
    let size = size.map_or("it".to_owned(), |bytes| format!("its size of {} MiB", bytes >> 20));
    Diagnostic::error(format!("cannot read {name}: {size} is larger than 4 MiB"))
        .help("a rule file of 20,000 rules fits into 4 MiB; is this the right file?")
}

/// Reads the table of a distribution, by a path that begins where the file of that name is.
///
/// A run's folder has the tables beside the rules, whatever path these have.
pub(super) fn dist(by: &Source, path: &str) -> Result<DistTable, String> {
    if !by.names_files {
        return Err("rules that come from elsewhere cannot name files of this host".to_owned());
    }
    let folder = Path::new(&by.name).parent().unwrap_or(Path::new(""));
    let written = folder.join(path);
    let beside = Path::new(path).file_name().map(|name| folder.join(name));
    let kept = beside.filter(|beside| !written.exists() && beside.exists());
    let at = kept.unwrap_or(written);
    let source = Source::read(&at).map_err(|wrong| wrong.message)?;
    let table =
        DistTable::parse(source.text()).map_err(|wrong| format!("{}: {wrong}", at.display()));
    table.map(|table| table.named(path))
}
