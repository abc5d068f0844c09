//! Trace headers: the W3C and the X-Ray form of "this belongs to that trace".
//!
//! Pure and total: any text is answered, with `None` when it names no parent span. A header is a courtesy of the sender,
//! so one that cannot be read is never a reason to refuse an event. The ids are used in `crate::telemetry` alone.

use super::run::TraceParent;

/// Reads a W3C `traceparent` (<https://www.w3.org/TR/trace-context/>, version 00 and, by its rule, later ones).
pub fn parse_traceparent(text: &str) -> Option<TraceParent> {
    let mut fields = text.trim().split('-');
    let version = lower_hex::<1>(fields.next()?)?;
    let trace_id = lower_hex::<16>(fields.next()?)?;
    let span_id = lower_hex::<8>(fields.next()?)?;
    let flags = lower_hex::<1>(fields.next()?)?;
    let readable = match version {
        [0x00] => fields.next().is_none(),
        [0xff] => false,
        _ => true,
    };
    if readable { parent(trace_id, span_id, flags[0] & 1 == 1) } else { None }
}

/// Reads the value of `X-Amzn-Trace-Id`, which EventBridge and SQS pass on as `AWSTraceHeader` (AWS X-Ray developer
/// guide, xray-concepts). A header without `Parent` names a trace and no span, so it gives `None`.
pub fn parse_aws_trace_header(text: &str) -> Option<TraceParent> {
    let field = |name: &str| {
        text.split(';').filter_map(|field| field.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    };
    let mut root = field("Root")?.split('-');
    let (version, seconds, rest) = (root.next()?, root.next()?, root.next()?);
    if version != "1" || root.next().is_some() {
        return None;
    }
    let mut trace_id = [0; 16];
    trace_id[..4].copy_from_slice(&hex::<4>(seconds)?);
    trace_id[4..].copy_from_slice(&hex::<12>(rest)?);
    parent(trace_id, hex::<8>(field("Parent")?)?, field("Sampled") == Some("1"))
}

/// Refuses the ids that both standards call invalid: all zero.
fn parent(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<TraceParent> {
    let valid = trace_id != [0; 16] && span_id != [0; 8];
    valid.then_some(TraceParent { trace_id, span_id, sampled })
}

/// Reads exactly `N` bytes of hexadecimal, lower case only, as W3C asks.
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { None } else { hex(text) }
}

/// Reads exactly `N` bytes of hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn trace_of(parent: Option<TraceParent>) -> Option<(String, bool)> {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        parent.map(|parent| (format!("{}/{}", text(&parent.trace_id), text(&parent.span_id)), parent.sampled))
    }

    #[track_caller]
    fn check(parent: Option<TraceParent>, expected: Option<(&str, bool)>) {
        assert_eq!(trace_of(parent), expected.map(|(ids, sampled)| (ids.to_owned(), sampled)));
    }

    #[test]
    fn traceparent_is_read_or_refused_as_w3c_says() {
        let ids = "0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331";
        for (text, expected) in [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), Some((ids, true))),
            (format!(" 00-{TRACE}-b7ad6b7169203331-00 "), Some((ids, false))),
            (format!("00-{TRACE}-b7ad6b7169203331-03"), Some((ids, true))),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-what-the-future-brings"), Some((ids, true))),
            (format!("00-{TRACE}-b7ad6b7169203331-01-extra"), None),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), None),
            (format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), None),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-0000000000000000-01"), None),
            (format!("00-{TRACE}-b7ad6b716920333-01"), None),
            (format!("00-{TRACE}-b7ad6b7169203331"), None),
            (format!("00-{TRACE}-b7ad6b716920333é-01"), None),
            (String::new(), None),
        ] {
            check(parse_traceparent(&text), expected);
        }
    }

    #[test]
    fn aws_trace_header_is_read_in_any_order_and_needs_a_parent() {
        let ids = "5759e988bd862e3fe1be46a994272793/53995c3f42cd8ad8";
        for (text, expected) in [
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", Some((ids, true))),
            ("Sampled=0; Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793", Some((ids, false))),
            ("Self=1-x;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=?", Some((ids, false))),
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", None),
            ("Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8", None),
            ("Root=1-5759e988-bd862e3fe1be46a99427279;Parent=53995c3f42cd8ad8", None),
            ("Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8", None),
            ("Root=1-5759e988-bd862e3fe1be46a994272793-1;Parent=53995c3f42cd8ad8", None),
            (";;=;", None),
        ] {
            check(parse_aws_trace_header(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC{0,80}", near in "(00|ff|[0-9a-fé]{2})-[0-9a-fé]{30,34}-[0-9a-f]{14,18}-[0-9a-f]{0,3}") {
            for text in [text, near] {
                if let Some(parent) = parse_traceparent(&text).or(parse_aws_trace_header(&text)) {
                    prop_assert!(parent.trace_id != [0; 16] && parent.span_id != [0; 8]);
                }
            }
        }
    }
}
