//! Reads the alternatives of a field, and refuses what EventBridge refuses, in its words where they are known.
//! Source: Amazon EventBridge user guide, "comparison operators".

use super::{
    MAX_ALTERNATIVES, PatternError,
    condition::{Alternative, Bound, Condition, Range, TextTest, Texts},
    fold::{Folded, Part},
    json::{Literal, Node},
    network::Network,
    number::OwnNumber,
    refused,
    wildcard::Wildcard,
};

const OPERATORS: &str =
    "operators are prefix, suffix, equals-ignore-case, wildcard, anything-but, numeric, cidr and exists";
const ONE_KIND: &str = "Inside anything but list, either all values are number or string, mixed type is not supported";

/// Reads the alternatives of the field at a path.
pub(super) fn condition(items: &[Node], path: &str) -> Result<Condition, PatternError> {
    if items.is_empty() {
        return Err(refused(path, "Empty arrays are not allowed"));
    }
    if items.len() > MAX_ALTERNATIVES {
        return Err(refused(path, format!("has {} alternatives, more than {MAX_ALTERNATIVES}", items.len())));
    }
    let mut condition = Condition { wanted: format!("[{}", items[0]), ..Condition::default() };
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if index > 0 {
            condition.wanted.push_str(&format!(",{item}"));
        }
        match item {
            Node::Text(text) => condition.texts.insert(text),
            Node::Number(digits) => condition.others.push(Alternative::Number(number(digits, &path)?)),
            Node::Literal(literal) => condition.others.push(Alternative::Literal(*literal)),
            Node::List(_) => return Err(refused(&path, "Match value must be String, number, true, false, or null")),
            Node::Object(members) => expression(members, &path, &mut condition)?,
        }
    }
    condition.wanted.push(']');
    Ok(condition)
}

/// The operator of a match expression and its operand.
fn only_member<'p>(members: &'p [(String, Node)], path: &str) -> Result<(&'p str, &'p Node), PatternError> {
    match members {
        [(operator, operand)] => Ok((operator, operand)),
        [] => Err(refused(path, "Empty objects are not allowed")),
        _several => Err(refused(path, "Only one key allowed in match expression")),
    }
}

fn expression(members: &[(String, Node)], path: &str, condition: &mut Condition) -> Result<(), PatternError> {
    let (operator, operand) = only_member(members, path)?;
    let alternative = match operator {
        "exactly" => {
            condition.texts.insert(text(operand, "exact", path)?);
            return Ok(());
        }
        "exists" => match operand {
            Node::Literal(Literal::True) => Alternative::Present,
            Node::Literal(Literal::False) => {
                condition.absent = true;
                return Ok(());
            }
            _other => return Err(refused(path, "exists match pattern must be either true or false.")),
        },
        "prefix" => Alternative::Text(part(operator, operand, Part::Begin, path)?),
        "suffix" => Alternative::Text(part(operator, operand, Part::End, path)?),
        "equals-ignore-case" => Alternative::Text(folded(operand, Part::All, path)?),
        "wildcard" => Alternative::Text(wildcard(operand, path)?),
        "anything-but" => anything_but(operand, path)?,
        "numeric" => numeric(operand, path)?,
        "cidr" => {
            let range = Network::parse(text(operand, "cidr", path)?);
            Alternative::Network(range.map_err(|reason| refused(path, reason))?)
        }
        other => return Err(refused(path, format!("Unrecognized match type {other}; {OPERATORS}"))),
    };
    condition.others.push(alternative);
    Ok(())
}

fn text<'p>(operand: &'p Node, operator: &str, path: &str) -> Result<&'p str, PatternError> {
    match operand {
        Node::Text(text) => Ok(text),
        _other => Err(refused(path, format!("{operator} match pattern must be a string"))),
    }
}

fn number(digits: &str, path: &str) -> Result<OwnNumber, PatternError> {
    let number = OwnNumber::new(digits);
    if number.is_finite() { Ok(number) } else { Err(refused(path, "a number outside the range of a double")) }
}

fn folded(operand: &Node, part: Part, path: &str) -> Result<TextTest, PatternError> {
    Ok(TextTest::Folded(Folded::new(text(operand, "equals-ignore-case", path)?), part))
}

fn wildcard(operand: &Node, path: &str) -> Result<TextTest, PatternError> {
    let parsed = Wildcard::parse(text(operand, "wildcard", path)?);
    Ok(TextTest::Wildcard(parsed.map_err(|reason| {
        refused(
            path,
            format!("{reason}; `\\*` stands for a star, `\\\\` for a backslash, and `**` means no more than `*`"),
        )
    })?))
}

/// `prefix` and `suffix`: a text, or `{"equals-ignore-case": text}`.
fn part(operator: &str, operand: &Node, part: Part, path: &str) -> Result<TextTest, PatternError> {
    if let Node::Object(members) = operand {
        return match only_member(members, path)? {
            ("equals-ignore-case", operand) => folded(operand, part, path),
            (other, _) => Err(refused(path, format!("Unsupported {operator} pattern: {other}"))),
        };
    }
    let text = text(operand, operator, path)?.as_bytes().into();
    Ok(if part == Part::Begin { TextTest::Prefix(text) } else { TextTest::Suffix(text) })
}

fn anything_but(operand: &Node, path: &str) -> Result<Alternative, PatternError> {
    let one = std::slice::from_ref(operand);
    let values = match operand {
        Node::Object(members) => return anything_but_like(only_member(members, path)?, path),
        Node::Text(_) | Node::Number(_) => one,
        Node::List(items) => items,
        Node::Literal(_) => {
            let reason = "Value of anything-but must be an array or single string/number value.";
            return Err(refused(path, reason));
        }
    };
    if values.iter().any(|value| !matches!(value, Node::Text(_) | Node::Number(_))) {
        return Err(refused(path, "Inside anything but list, start|null|boolean is not supported."));
    }
    let mut texts = Texts::default();
    let mut numbers = Vec::new();
    for value in values {
        match value {
            Node::Text(text) => texts.insert(text),
            Node::Number(digits) => numbers.push(number(digits, path)?),
            _other => {}
        }
    }
    match (texts.is_empty(), numbers.is_empty()) {
        (false, true) => Ok(Alternative::NoText(texts, Vec::new())),
        (true, false) => Ok(Alternative::NoNumber(numbers)),
        _mixed_or_none => Err(refused(path, ONE_KIND)),
    }
}

/// `anything-but` with an operator inside, of one text or a list of them.
fn anything_but_like((operator, operand): (&str, &Node), path: &str) -> Result<Alternative, PatternError> {
    if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&operator) {
        return Err(refused(path, format!("Unsupported anything-but pattern: {operator}")));
    }
    let one = std::slice::from_ref(operand);
    let values = if let Node::List(items) = operand { items } else { one };
    if values.is_empty() {
        return Err(refused(path, "Empty arrays are not allowed"));
    }
    let test = |value: &Node| match (operator, value) {
        ("prefix" | "suffix", Node::Text(text)) if text.is_empty() => {
            Err(refused(path, "Null prefix/suffix not allowed; every text begins and ends with it"))
        }
        ("prefix" | "suffix", Node::Text(text)) => {
            let text = text.as_bytes().into();
            Ok(if operator == "prefix" { TextTest::Prefix(text) } else { TextTest::Suffix(text) })
        }
        ("prefix" | "suffix", _) => Err(refused(path, "prefix/suffix match pattern must be a string")),
        ("wildcard", value) => wildcard(value, path),
        (_ignoring_case, value) => folded(value, Part::All, path),
    };
    let tests = values.iter().map(test).collect::<Result<_, _>>()?;
    Ok(Alternative::NoText(Texts::default(), tests))
}

fn numeric(operand: &Node, path: &str) -> Result<Alternative, PatternError> {
    let Node::List(terms) = operand else {
        return Err(refused(path, "Value of numeric must be an array."));
    };
    let term = |at: usize| match (terms.get(at), terms.get(at + 1)) {
        (Some(Node::Text(operator)), Some(Node::Number(digits))) => Ok((operator.as_str(), number(digits, path)?)),
        (Some(Node::Text(operator)), _) => Err(refused(path, format!("Value of {operator} must be numeric"))),
        (Some(other), _) => Err(refused(path, format!("Invalid member in numeric match: {other}"))),
        (None, _) => Err(refused(path, "Invalid member in numeric match: ]")),
    };
    let (operator, value) = term(0)?;
    let bound = |number, inclusive| Some(Bound { number, inclusive });
    let mut range = match operator {
        "=" if terms.len() == 2 => return Ok(Alternative::Number(value)),
        "<" | "<=" if terms.len() == 2 => Range { lower: None, upper: bound(value, operator == "<=") },
        "=" | "<" | "<=" => return Err(refused(path, "Too many elements in numeric expression")),
        ">" | ">=" => Range { lower: bound(value, operator == ">="), upper: None },
        other => return Err(refused(path, format!("Unrecognized numeric range operator: {other}"))),
    };
    if terms.len() > 2 && range.upper.is_none() {
        let (operator, value) = term(2)?;
        range.upper = match operator {
            "<" | "<=" => bound(value, operator == "<="),
            other => return Err(refused(path, format!("Bad numeric range operator: {other}"))),
        };
    }
    if terms.len() > 4 {
        return Err(refused(path, "Too many terms in numeric range expression"));
    }
    match (&range.lower, &range.upper) {
        (Some(lower), Some(upper)) if lower.number.get().compare(upper.number.get()).is_ge() => {
            Err(refused(path, "Bottom must be less than top"))
        }
        _open_or_in_order => Ok(Alternative::Range(range)),
    }
}
