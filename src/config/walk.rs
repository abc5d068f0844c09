//! Compares a value with the schema: unknown keys, wrong types and wrong words, all of them at once.
//!
//! What is wrong is replaced by an empty value of the right type, so that the rest can be deserialised and checked.
//! Only variables of the environment are coerced, since they are all text.

use serde_json::{Map, Value};

use super::{
    path::{Index, KeyPath},
    problem::{Place, Problem},
};
use crate::domain::words::did_you_mean;

/// What the comparison needs to know, and what it finds.
pub struct Walk<'a> {
    /// The schema as a whole, for references into it.
    pub schema: &'a Value,
    /// Where each key stands.
    pub index: &'a Index,
    /// Paths set by variables of the environment.
    pub variables: &'a [KeyPath],
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Paths whose values were replaced.
    pub spoiled: Vec<KeyPath>,
}

/// The forms of value that our schema has.
enum Form<'s> {
    Anything,
    Text,
    Number,
    Flag,
    /// A text, or a list.
    Texts(&'s Value),
    Word(Vec<&'s str>),
    List(&'s Value),
    Table {
        properties: Option<&'s Map<String, Value>>,
        others: Option<&'s Value>,
    },
}

impl<'a> Walk<'a> {
    /// Compares a value with the whole schema and returns what is right of it.
    pub fn run(&mut self, value: Value) -> Value {
        self.value(value, self.schema, &KeyPath::default()).unwrap_or(Value::Object(Map::new()))
    }

    /// Compares a value; `None` when its key is to be left out.
    fn value(&mut self, value: Value, schema: &'a Value, path: &KeyPath) -> Option<Value> {
        let form = self.form(schema);
        let value = if self.variables.contains(path) { coerced(value, &form) } else { value };
        match (form, value) {
            (Form::Anything, value) => Some(value),
            (Form::Text | Form::Texts(_), Value::String(text)) => Some(Value::String(text)),
            (Form::Number, Value::Number(number)) if number.is_i64() => Some(Value::Number(number)),
            (Form::Flag, Value::Bool(flag)) => Some(Value::Bool(flag)),
            (Form::Word(words), Value::String(word)) => {
                if words.contains(&word.as_str()) {
                    return Some(Value::String(word));
                }
                let hint = did_you_mean(&word, words.iter().copied());
                let message = format!("`{word}` is not one of {}", quoted(&words));
                self.report(path, self.index.value(path), message, hint);
                None
            }
            (Form::List(schema) | Form::Texts(schema), Value::Array(items)) => {
                let items = items.into_iter().enumerate();
                Some(items.map(|(number, item)| self.item(item, schema, &path.item(number))).collect())
            }
            (Form::Table { properties, others }, Value::Object(table)) => {
                Some(Value::Object(self.table(table, properties, others, path)))
            }
            (form, value) => {
                let message = format!("expected {}, found {}", form.noun(), described(&value));
                self.report(path, self.index.value(path), message, None);
                None
            }
        }
    }

    /// Compares an item of a list, which keeps its place in the list whatever it is.
    fn item(&mut self, item: Value, schema: &'a Value, path: &KeyPath) -> Value {
        let empty = match self.form(schema) {
            Form::Table { .. } => Value::Object(Map::new()),
            Form::List(_) => Value::Array(Vec::new()),
            _ => Value::String(String::new()),
        };
        self.value(item, schema, path).unwrap_or(empty)
    }

    fn table(
        &mut self,
        table: Map<String, Value>,
        properties: Option<&'a Map<String, Value>>,
        others: Option<&'a Value>,
        path: &KeyPath,
    ) -> Map<String, Value> {
        let mut right = Map::new();
        for (key, value) in table {
            let inner = path.key(&key);
            let Some(schema) = properties.and_then(|known| known.get(&key)).or(others) else {
                let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                let hint = did_you_mean(&key, known);
                self.report(&inner, self.index.key(&inner), format!("unknown key `{key}`"), hint);
                continue;
            };
            if let Some(value) = self.value(value, schema, &inner) {
                right.insert(key, value);
            }
        }
        right
    }

    fn report(&mut self, path: &KeyPath, place: Option<Place>, message: String, hint: Option<String>) {
        self.problems.push(Problem { place, path: path.to_string(), message, hint });
        self.spoiled.push(path.clone());
    }

    /// Finds the form that a schema asks for, through references and optional values.
    fn form(&self, schema: &'a Value) -> Form<'a> {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.schema.pointer(pointer));
            return target.map_or(Form::Anything, |target| self.form(target));
        }
        if let Some(variants) = schema.get("anyOf").and_then(Value::as_array) {
            let some = variants.iter().filter(|variant| variant.get("type") != Some(&Value::from("null")));
            let forms: Vec<Form<'a>> = some.map(|variant| self.form(variant)).collect();
            return match <[Form<'a>; 1]>::try_from(forms).map_err(<[Form<'a>; 2]>::try_from) {
                Ok([only]) => only,
                Err(Ok([Form::Text, Form::List(items)])) => Form::Texts(items),
                Err(_) => Form::Anything,
            };
        }
        if let Some(words) = words(schema) {
            return Form::Word(words);
        }
        match type_of(schema) {
            Some("string") => Form::Text,
            Some("integer") => Form::Number,
            Some("boolean") => Form::Flag,
            Some("array") => schema.get("items").map_or(Form::Anything, Form::List),
            Some("object") => Form::Table {
                properties: schema.get("properties").and_then(Value::as_object),
                others: schema.get("additionalProperties").filter(|others| others.as_bool() != Some(false)),
            },
            _ => Form::Anything,
        }
    }
}

impl Form<'_> {
    fn noun(&self) -> String {
        match self {
            Form::Anything => "a value".to_owned(),
            Form::Text => "a text in quotes".to_owned(),
            Form::Number => "a whole number".to_owned(),
            Form::Flag => "`true` or `false`".to_owned(),
            Form::Texts(_) => "a text in quotes or a list of them".to_owned(),
            Form::Word(words) => format!("a text in quotes, one of {}", quoted(words)),
            Form::List(_) => "a list".to_owned(),
            Form::Table { .. } => "a table".to_owned(),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    }
}

/// Lists the words of an enumeration, which schemars writes in two ways.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let variants = schema.get("oneOf")?.as_array()?;
    Some(variants.iter().filter_map(|variant| variant.get("const")?.as_str()).collect())
}

/// Reads the text of a variable as TOML where something else than a text is wanted.
fn coerced(value: Value, form: &Form<'_>) -> Value {
    let Value::String(text) = &value else { return value };
    let is_list = matches!(form, Form::Texts(_)) && text.starts_with('[');
    if !is_list && !matches!(form, Form::List(_) | Form::Table { .. } | Form::Number | Form::Flag) {
        return value;
    }
    let parsed = toml::from_str::<Value>(&format!("value = {text}"));
    match parsed {
        Ok(mut table) => table.get_mut("value").map(Value::take).unwrap_or(value),
        // It is reported as what it is: a text where something else is wanted.
        Err(_not_toml) => value,
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) => format!("the text {value:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}
