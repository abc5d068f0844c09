//! What is to be there as Terraform's HCL, for those who apply by it.
//!
//! Account, Region and ARNs are left to the provider. Names and tags are those of `firedrill queue apply`, which finds
//! nothing to do afterwards.

use std::fmt::Write;

use serde_json::Value;

use super::{DEFAULT_BUS, Desired, QueueSpec, RuleSpec, TAG, TARGET_ID, label, policy, rule_digest};

/// How a text is written: as it is, or as a template in which `${…}` is an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Literal,
    Template,
}

/// Writes the resources of some queues.
pub fn text(queues: &[Desired]) -> String {
    let mut text = "data \"aws_caller_identity\" \"current\" {}\n".to_owned();
    for desired in queues {
        let base = label(&desired.queue.name, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let (queue, dead) = (format!("firedrill_{base}"), format!("firedrill_{base}_dead_letters"));
        let rules: Vec<(String, &RuleSpec)> =
            desired.rules.values().map(|rule| (format!("{queue}_{}", rule_digest(rule)), rule)).collect();
        self::queue(&mut text, desired, &desired.dead_letters, &dead, None);
        self::queue(&mut text, desired, &desired.queue, &queue, Some(&dead));
        let of_dead = rules.iter().filter(|(_, rule)| rule.dead_letters.is_some());
        queue_policy(&mut text, &dead, of_dead);
        queue_policy(&mut text, &queue, rules.iter());
        for (id, rule) in &rules {
            self::rule(&mut text, desired, id, rule);
            target(&mut text, id, rule, &queue, &dead);
        }
    }
    text
}

/// Writes a block; its lines are `name = expression`, aligned as `terraform fmt` does.
fn block(text: &mut String, kind: &str, id: &str, lines: &[(&str, String)], more: &str) {
    // Writing into a string cannot fail.
    let _infallible = write!(text, "\nresource \"{kind}\" \"{id}\" {{\n");
    // A value of several lines ends a group of aligned ones.
    for group in lines.chunk_by(|(_, one), _| !one.contains('\n')) {
        let single = group.iter().filter(|(_, value)| !value.contains('\n'));
        let width = single.map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in group {
            let width = if value.contains('\n') { name.len() } else { width };
            let _infallible = writeln!(text, "  {name:width$} = {value}");
        }
    }
    text.push_str(more);
    text.push_str("}\n");
}

fn queue(text: &mut String, desired: &Desired, spec: &QueueSpec, id: &str, dead_letters: Option<&str>) {
    let attribute = |(name, value): (&String, &String)| {
        let (name, value) = match name.as_str() {
            "MessageRetentionPeriod" => ("message_retention_seconds", value.clone()),
            "ReceiveMessageWaitTimeSeconds" => ("receive_wait_time_seconds", value.clone()),
            "SqsManagedSseEnabled" => ("sqs_managed_sse_enabled", value.clone()),
            "FifoQueue" => ("fifo_queue", value.clone()),
            "ContentBasedDeduplication" => ("content_based_deduplication", value.clone()),
            "KmsMasterKeyId" => ("kms_master_key_id", quoted(value, Texts::Literal)),
            "RedrivePolicy" => {
                let mut policy: Value = serde_json::from_str(value).unwrap_or_default();
                policy["deadLetterTargetArn"] = format!("${{aws_sqs_queue.{}.arn}}", dead_letters?).into();
                ("redrive_policy", encoded(&policy, Texts::Template))
            }
            _policy => return None,
        };
        Some((name, value))
    };
    let mut lines = vec![("name", quoted(&spec.name, Texts::Literal))];
    lines.extend(spec.attributes.iter().filter(|(_, value)| !value.is_empty()).filter_map(attribute));
    lines.push(("tags", tags(desired)));
    block(text, "aws_sqs_queue", id, &lines, "");
}

fn queue_policy<'r>(text: &mut String, queue: &str, rules: impl Iterator<Item = &'r (String, &'r RuleSpec)>) {
    let arns = rules.map(|(id, _)| format!("${{aws_cloudwatch_event_rule.{id}.arn}}").into()).collect();
    let account = "${data.aws_caller_identity.current.account_id}".into();
    let document = policy(&format!("${{aws_sqs_queue.{queue}.arn}}").into(), arns, &account);
    let lines = [("queue_url", format!("aws_sqs_queue.{queue}.id")), ("policy", encoded(&document, Texts::Template))];
    block(text, "aws_sqs_queue_policy", queue, &lines, "");
}

fn rule(text: &mut String, desired: &Desired, id: &str, rule: &RuleSpec) {
    let mut lines = vec![("name", quoted(&rule.name, Texts::Literal))];
    lines.push(("description", quoted(&desired.rule_description(), Texts::Literal)));
    if rule.bus != DEFAULT_BUS {
        lines.push(("event_bus_name", quoted(&rule.bus, Texts::Literal)));
    }
    lines.push(("event_pattern", encoded(&rule.pattern, Texts::Literal)));
    lines.push(("tags", tags(desired)));
    let more = "\n  lifecycle {\n    create_before_destroy = true\n  }\n";
    block(text, "aws_cloudwatch_event_rule", id, &lines, more);
}

fn target(text: &mut String, id: &str, rule: &RuleSpec, queue: &str, dead_letters: &str) {
    let mut lines = vec![("rule", format!("aws_cloudwatch_event_rule.{id}.name"))];
    if rule.bus != DEFAULT_BUS {
        lines.push(("event_bus_name", quoted(&rule.bus, Texts::Literal)));
    }
    lines.push(("target_id", quoted(TARGET_ID, Texts::Literal)));
    lines.push(("arn", format!("aws_sqs_queue.{queue}.arn")));
    let group = rule
        .group
        .as_ref()
        .map(|group| format!("\n  sqs_target {{\n    message_group_id = {}\n  }}\n", quoted(group, Texts::Literal)));
    let dead = rule.dead_letters.as_ref();
    let dead = dead.map(|_| format!("\n  dead_letter_config {{\n    arn = aws_sqs_queue.{dead_letters}.arn\n  }}\n"));
    let more = group.into_iter().chain(dead).collect::<String>();
    block(text, "aws_cloudwatch_event_target", id, &lines, &more);
}

fn tags(desired: &Desired) -> String {
    format!("{{\n    {} = {}\n  }}", quoted(TAG, Texts::Literal), quoted(&desired.queue.name, Texts::Literal))
}

fn encoded(value: &Value, texts: Texts) -> String {
    format!("jsonencode({})", expression(value, texts, 1))
}

/// Writes a value as an expression that begins inside of a line of so many levels.
fn expression(value: &Value, texts: Texts, level: usize) -> String {
    let (inner, outer) = ("  ".repeat(level + 1), "  ".repeat(level));
    match value {
        Value::String(text) => quoted(text, texts),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| expression(item, texts, level)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{inner}{} = {}\n", quoted(key, Texts::Literal), expression(value, texts, level + 1))
            };
            format!("{{\n{}{outer}}}", members.iter().map(member).collect::<String>())
        }
        scalar => scalar.to_string(),
    }
}

/// Quotes a text: HCL knows fewer escapes than JSON does, and two marks of templates.
fn quoted(text: &str, texts: Texts) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if texts == Texts::Literal && rest.peek() == Some(&'{') => quoted.extend([c, c]),
            control if control.is_control() => {
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
