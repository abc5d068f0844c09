//! CBOR to JSON and back, for Smithy's RPC v2 protocol.
//!
//! The rest of the simulator knows JSON only. Bytes and other things that JSON cannot carry are refused.

use std::convert::Infallible;

use minicbor::{
    Decoder, Encoder,
    data::{IanaTag, Type},
};
use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 32;

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum CborError {
    #[error("the body is not CBOR: {0}")]
    Malformed(#[from] minicbor::decode::Error),
    #[error("the body is nested too deeply")]
    Deep,
    #[error("the body holds {0}, which has no place here")]
    Unexpected(String),
    #[error("the body goes on behind its end")]
    Trailing,
}

/// Reads one value.
///
/// # Errors
/// [`CborError`].
pub(super) fn decoded(bytes: &[u8]) -> Result<Value, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = read(&mut decoder, 0)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(CborError::Trailing) }
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    if depth > MAX_DEPTH {
        return Err(CborError::Deep);
    }
    Ok(match decoder.datatype()? {
        Type::Bool => decoder.bool()?.into(),
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64()?.into(),
        Type::F32 => Number::from_f64(decoder.f32()?.into()).map_or(Value::Null, Value::Number),
        Type::F64 => Number::from_f64(decoder.f64()?).map_or(Value::Null, Value::Number),
        Type::String | Type::StringIndef => decoder.str_iter()?.collect::<Result<String, _>>()?.into(),
        // A time is a number with a tag.
        Type::Tag => {
            decoder.tag()?;
            read(decoder, depth + 1)?
        }
        Type::Array | Type::ArrayIndef => {
            let mut left = decoder.array()?;
            let mut items = Vec::new();
            while more(decoder, &mut left)? {
                items.push(read(decoder, depth + 1)?);
            }
            Value::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let mut left = decoder.map()?;
            let mut members = Map::new();
            while more(decoder, &mut left)? {
                let key = decoder.str()?.to_owned();
                members.insert(key, read(decoder, depth + 1)?);
            }
            Value::Object(members)
        }
        other => return Err(CborError::Unexpected(other.to_string())),
    })
}

/// Tells whether an array or map goes on, by its length or by its end mark, which is consumed.
fn more(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, CborError> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(false)
        }
        None => Ok(true),
    }
}

/// Writes a value. Numbers under a name that ends with `Timestamp` are times.
pub(super) fn encoded(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    if let Err(error) = write(&mut encoder, value) {
        // Writing to memory has no reason to fail; a client takes half a body for a broken one.
        tracing::error!("failed to write an answer as CBOR: {error}");
    }
    encoder.into_writer()
}

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value) -> Result<(), minicbor::encode::Error<Infallible>> {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(value) => encoder.bool(*value)?.ok(),
        Value::String(text) => encoder.str(text)?.ok(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => encoder.u64(number)?.ok(),
            (None, Some(number)) => encoder.i64(number)?.ok(),
            (None, None) => encoder.f64(number.as_f64().unwrap_or(f64::NAN))?.ok(),
        },
        Value::Array(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(encoder, item))
        }
        Value::Object(members) => {
            encoder.map(members.len() as u64)?;
            members.iter().try_for_each(|(key, value)| {
                encoder.str(key)?;
                if key.ends_with("Timestamp") && value.is_number() {
                    encoder.tag(IanaTag::Timestamp)?;
                }
                write(encoder, value)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{decoded, encoded};

    #[test]
    fn values_survive_and_other_bytes_are_refused() {
        let value = json!({"a": [1, -2, 2.5, null, true], "text": "ä", "AtTimestamp": 1.5, "m": {}});
        assert_eq!(decoded(&encoded(&value)).expect("read"), value);
        // {_ "a": [_ 1]} and (_ "a" "b"), both of unknown length.
        assert_eq!(decoded(b"\xbf\x61a\x9f\x01\xff\xff").expect("read"), json!({"a": [1]}));
        assert_eq!(decoded(b"\x7f\x61a\x61b\xff").expect("read"), json!("ab"));
        let deep = [b"\x81".repeat(1_000), vec![1]].concat();
        let endless = b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff".as_slice();
        for bytes in [b"".as_slice(), b"\xa1", b"\x41a", b"\x01\x01", b"\xa1\x01\x01", &deep, endless] {
            decoded(bytes).expect_err("refused");
        }
    }
}
