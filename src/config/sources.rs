//! Sources: the files and the variables that a configuration is made of, merged into one value with an index.
//!
//! Nothing here knows a key; what the value must look like is said in `raw` and found out in `walk`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{
    path::{Index, KeyPath},
    problem::{Place, Position, Problem},
};

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Most files of a folder.
pub const MAX_FILES: usize = 1_000;

/// First part of every variable that overrides a key, as in `FIREDRILL__AWS__REGION`.
const PREFIX: &str = "FIREDRILL";
const SEPARATOR: &str = "__";

/// Tables whose keys are names that one file alone may declare.
const DECLARATIONS: [(&str, &str); 7] = [
    ("experiments", "experiment"),
    ("windows", "window"),
    ("calendars", "calendar"),
    ("queues", "queue"),
    ("mappings", "mapping"),
    ("groups", "group"),
    // Another file would lift what this one demands.
    (POLICY, "demand"),
];

/// What is demanded of all templates.
const POLICY: &str = "policy";

// What would be right where a name, or a demand, is declared twice.
const RENAME: &str = "give one of them another name, or put both into one file";
const LOOSEN: &str = "say it once, for all; an experiment that needs less says so in its own `policy`, with a reason";

/// Tables that hold for all experiments, whichever file they stand in.
const GUARDS: [&str; 4] = ["agent", "aws", "budget", POLICY];

/// Everything that the sources say.
#[derive(Debug, Default)]
pub struct Merged {
    /// The merged value, a table.
    pub value: Value,
    /// Where each key stands.
    pub index: Index,
    /// Paths set by variables: their texts may stand for lists and tables.
    pub variables: Vec<KeyPath>,
    /// What is wrong with the sources themselves.
    pub problems: Vec<Problem>,
    /// What is right but seldom meant.
    pub warnings: Vec<Problem>,
    /// Paths that the problems are about: nothing more is to be said of them.
    pub spoiled: Vec<KeyPath>,
    /// Whether something could not be read, so that what seems missing may be there.
    pub completeness: Completeness,
}

/// Whether all sources could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Completeness {
    /// All of them.
    #[default]
    Complete,
    /// Not all of them.
    Partial,
}

struct SourceFile {
    name: String,
    text: String,
    /// Byte at which each line begins.
    lines: Vec<usize>,
}

impl SourceFile {
    fn new(name: String, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines }
    }

    fn place(&self, byte: usize) -> Place {
        Place { source: self.name.clone(), position: self.position(byte) }
    }

    fn position(&self, byte: usize) -> Option<Position> {
        let line = self.lines.partition_point(|&start| start <= byte);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count()) + 1;
        Some(Position { line, column })
    }
}

/// Reads a file, or all `*.toml` of a folder in name order, and the variables over them.
pub fn merge(path: &Path, env: &[(String, String)]) -> Merged {
    let mut merged = Merged::default();
    let files = read(path, &mut merged.problems);
    if !merged.problems.is_empty() {
        merged.completeness = Completeness::Partial;
    }
    let mut builder = config::Config::builder();
    let mut declared = BTreeMap::new();
    for file in &files {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        if errors.is_empty() {
            builder = builder.add_source(config::File::from_str(&file.text, config::FileFormat::Toml));
            index_table(file, &KeyPath::default(), table.get_ref(), &mut merged.index);
            refuse_second_declarations(file, table.get_ref(), &mut declared, &mut merged);
            doubt_second_guards(file, table.get_ref(), &mut declared, &mut merged.warnings);
        } else {
            merged.completeness = Completeness::Partial;
            merged.problems.extend(errors.iter().map(|error| syntax_problem(file, error)));
        }
    }
    let variables = env.iter().filter(|(name, _)| variable_path(name).is_some()).cloned();
    for (name, _) in env {
        if let Some(path) = variable_path(name) {
            merged.index.note(&path, &format!("environment variable {name}"), None, None);
            merged.variables.push(path);
        }
    }
    let environment = config::Environment::with_prefix(PREFIX)
        .prefix_separator(SEPARATOR)
        .separator(SEPARATOR)
        .source(Some(variables.collect()));
    let built = builder.add_source(environment).build().and_then(config::Config::try_deserialize);
    merged.value = built.unwrap_or_else(|error| {
        merged.completeness = Completeness::Partial;
        merged.problems.push(whole(None, format!("the files cannot be merged: {error}")));
        Value::Object(serde_json::Map::new())
    });
    merged
}

/// Returns the key path of a variable that overrides a key; its letters are taken as small.
fn variable_path(name: &str) -> Option<KeyPath> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix(SEPARATOR)?;
    Some(rest.to_lowercase().split(SEPARATOR).fold(KeyPath::default(), |path, key| path.key(key)))
}

fn whole(path: Option<&Path>, message: String) -> Problem {
    Problem { place: path.map(Into::into), path: String::new(), message, hint: None }
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<SourceFile> {
    let mut texts = Vec::new();
    match list(path) {
        Err(problem) => problems.push(problem),
        Ok(paths) => {
            for path in paths {
                match read_file(&path) {
                    Ok(text) => texts.push(SourceFile::new(path.display().to_string(), text)),
                    Err(problem) => problems.push(problem),
                }
            }
        }
    }
    texts
}

/// Lists the files that a path stands for.
fn list(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => whole(Some(path), "there is no such file or folder".to_owned()),
        _ => whole(Some(path), format!("cannot be read: {error}")),
    };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "toml") && !file.is_dir() {
            paths.push(file);
        }
    }
    paths.sort();
    match paths.len() {
        0 => Err(whole(Some(path), "there is no `*.toml` file in the folder".to_owned())),
        1..=MAX_FILES => Ok(paths),
        more => Err(whole(Some(path), format!("there are {more} files in the folder, more than {MAX_FILES}"))),
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    use io::Read;
    let unreadable = |error: io::Error| whole(Some(path), format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(whole(Some(path), format!("is larger than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let place = SourceFile::new(path.display().to_string(), text).place(valid);
        Problem { place: Some(place), path: String::new(), message: "is not UTF-8 text".to_owned(), hint: None }
    })
}

fn syntax_problem(file: &SourceFile, error: &toml::de::Error) -> Problem {
    Problem {
        place: Some(file.place(error.span().map_or(0, |span| span.start))),
        path: String::new(),
        message: format!("not TOML: {}", error.message().replace('\n', ", ")),
        hint: None,
    }
}

fn index_table(file: &SourceFile, path: &KeyPath, table: &DeTable<'_>, index: &mut Index) {
    for (key, value) in table {
        let path = path.key(key.get_ref());
        index.note(&path, &file.name, file.position(key.span().start), file.position(value.span().start));
        index_value(file, &path, value.get_ref(), index);
    }
}

fn index_value(file: &SourceFile, path: &KeyPath, value: &DeValue<'_>, index: &mut Index) {
    match value {
        DeValue::Table(table) => index_table(file, path, table, index),
        DeValue::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                let path = path.item(number);
                let at = file.position(item.span().start);
                index.note(&path, &file.name, at, at);
                index_value(file, &path, item.get_ref(), index);
            }
        }
        _ => {}
    }
}

/// Warns of a table that an earlier file has, too, and that holds for what all files declare.
fn doubt_second_guards(
    file: &SourceFile,
    table: &DeTable<'_>,
    declared: &mut BTreeMap<KeyPath, Place>,
    warnings: &mut Vec<Problem>,
) {
    for guard in GUARDS {
        let Some((key, _)) = table.get_key_value(guard) else { continue };
        let (path, here) = (KeyPath::default().key(guard), file.place(key.span().start));
        let Some(first) = declared.get(&path) else {
            declared.insert(path, here);
            continue;
        };
        warnings.push(Problem {
            place: Some(here),
            path: path.to_string(),
            message: format!(
                "holds for all experiments and stands in two files, first at {first}; what both say counts as said here"
            ),
            hint: Some("keep it in one file that every team can see".to_owned()),
        });
    }
}

/// Refuses a name that an earlier file has declared already: one would silently change the other.
fn refuse_second_declarations(
    file: &SourceFile,
    table: &DeTable<'_>,
    declared: &mut BTreeMap<KeyPath, Place>,
    merged: &mut Merged,
) {
    for (section, noun) in DECLARATIONS {
        let names = table.get(section).and_then(|value| value.get_ref().as_table());
        for (name, value) in names.into_iter().flatten() {
            let path = KeyPath::default().key(section).key(name.get_ref());
            // A dotted or nested header has the span of its own key.
            let here = file.place(name.span().start.min(value.span().start));
            let Some(first) = declared.get(&path) else {
                declared.insert(path, here);
                continue;
            };
            merged.problems.push(Problem {
                place: Some(here),
                path: path.to_string(),
                message: format!("{noun} `{}` is declared twice, first at {first}", name.get_ref()),
                hint: Some(if section == POLICY { LOOSEN } else { RENAME }.to_owned()),
            });
            merged.spoiled.push(path);
        }
    }
}
