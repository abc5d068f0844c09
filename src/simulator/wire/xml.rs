//! XML answers of the Query protocol.
//!
//! Written by hand: elements and escaped text are all there is to it.

use serde_json::Value;

/// The one service that is spoken to in this protocol.
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// A success: the answer's one member is named like the operation and holds its result.
pub(super) fn success(body: &Value, request_id: &str) -> String {
    let mut text = String::new();
    for (operation, result) in body.as_object().into_iter().flatten() {
        text.push_str(&format!("<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>"));
        write(&mut text, result);
        text.push_str(&format!("</{operation}Result><ResponseMetadata><RequestId>{}</RequestId>", escaped(request_id)));
        text.push_str(&format!("</ResponseMetadata></{operation}Response>"));
    }
    text
}

/// An error.
pub(super) fn failure(code: &str, message: &str, request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        escaped(code),
        escaped(message),
        escaped(request_id)
    )
}

/// Members as elements; names are the simulator's own and need no escapes.
fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                text.push_str(&format!("<{name}>"));
                write(text, value);
                text.push_str(&format!("</{name}>"));
            }
        }
        Value::String(content) => text.push_str(&escaped(content)),
        Value::Null => {}
        other => text.push_str(&other.to_string()),
    }
}

/// Tells whether XML has no way to write a character.
pub(in crate::simulator) fn is_unwritable(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if is_unwritable(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
