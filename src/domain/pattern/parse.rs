//! Reads a pattern: its fields by path, and the branches that its `$or`s multiply into.

use std::{collections::HashMap, sync::Arc};

use super::{Branch, Field, MAX_BRANCHES, MAX_DEPTH, MAX_FIELDS, PatternError, json::Node, operator, refused};

const OR: &str = "$or";

/// Names that a field inside `$or` must not have (event-ruler reserves them).
const RESERVED: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) fields: Vec<Arc<Field>>,
    /// Of a path that is named again the last condition counts, as for a name twice in one object.
    pub(super) replaced: Vec<String>,
    /// Distinct paths.
    paths: HashMap<String, u32>,
}

/// Where in a pattern a node stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// Path of the field in an event; `None` at the root.
    path: Option<&'p str>,
    /// Path in the pattern itself, for errors.
    shown: &'p str,
    depth: usize,
    inside_or: bool,
}

impl Reader {
    /// Reads a pattern and returns its branches.
    pub(super) fn read(&mut self, root: &Node) -> Result<Vec<Branch>, PatternError> {
        let Node::Object(members) = root else {
            return Err(refused("", "Filter is not an object; a pattern must be an object"));
        };
        let mut branches = vec![Branch::new()];
        self.object(members, Place { path: None, shown: "", depth: 0, inside_or: false }, &mut branches)?;
        Ok(branches)
    }

    fn object(
        &mut self,
        members: &[(String, Node)],
        place: Place<'_>,
        branches: &mut Vec<Branch>,
    ) -> Result<(), PatternError> {
        if members.is_empty() {
            return Err(refused(place.shown, "Empty objects are not allowed"));
        }
        if place.depth >= MAX_DEPTH {
            return Err(refused(place.shown, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        for (name, node) in members {
            let shown = if place.shown.is_empty() { name.clone() } else { format!("{}.{name}", place.shown) };
            if name == OR {
                self.or(node, Place { shown: &shown, ..place }, branches)?;
                continue;
            }
            if place.inside_or && RESERVED.contains(&name.as_str()) {
                let reason = format!("{name} is Ruler reserved fieldName which cannot be used inside $or.");
                return Err(refused(&shown, reason));
            }
            let path = place.path.map_or_else(|| name.clone(), |path| format!("{path}.{name}"));
            match node {
                Node::Object(inner) => {
                    let place = Place { path: Some(&path), shown: &shown, depth: place.depth + 1, ..place };
                    self.object(inner, place, branches)?;
                }
                Node::List(items) => self.field(path, items, &shown, branches)?,
                _scalar => return Err(refused(&shown, format!("\"{name}\" must be an object or an array"))),
            }
        }
        Ok(())
    }

    fn or(&mut self, node: &Node, place: Place<'_>, branches: &mut Vec<Branch>) -> Result<(), PatternError> {
        let Node::List(items) = node else {
            return Err(refused(place.shown, "It must be an Array followed with $or."));
        };
        if items.len() < 2 {
            return Err(refused(place.shown, "There must have at least 2 Objects in $or relationship."));
        }
        let before = std::mem::take(branches);
        for (index, item) in items.iter().enumerate() {
            let shown = format!("{}[{index}]", place.shown);
            let Node::Object(members) = item else {
                return Err(refused(&shown, "Only JSON object is allowed in array of $or relationship."));
            };
            let mut own = before.clone();
            let place = Place { shown: &shown, depth: place.depth + 1, inside_or: true, ..place };
            self.object(members, place, &mut own)?;
            branches.append(&mut own);
            if branches.len() > MAX_BRANCHES {
                return Err(refused(place.shown, format!("`$or` makes more than {MAX_BRANCHES} combinations")));
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        path: String,
        items: &[Node],
        shown: &str,
        branches: &mut [Branch],
    ) -> Result<(), PatternError> {
        let condition = operator::condition(items, shown)?;
        let id = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
        let paths = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        let number = *self.paths.entry(path.clone()).or_insert(paths);
        let mut replaced = false;
        for branch in branches {
            replaced |= branch.insert(number, id).is_some();
            if branch.len() > MAX_FIELDS {
                return Err(refused(shown, format!("more than {MAX_FIELDS} fields")));
            }
        }
        if replaced {
            self.replaced.push(path.clone());
        }
        self.fields.push(Arc::new(Field { path, condition }));
        Ok(())
    }
}
