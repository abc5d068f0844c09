//! Provisioning: the EventBridge rules, the queue and its dead-letter queue that the configuration asks for.
//!
//! Pure. [`desired`] derives them from the triggers, [`diff`] compares them with what is there, [`cloudformation`] and
//! [`terraform`] write them for those who apply them elsewhere. Everything carries the tag [`TAG`]; nothing is ever
//! changed or deleted that does not.

pub mod cloudformation;
pub mod diff;
pub mod merge;
pub mod terraform;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::ids::{Name, fingerprint};

/// Tag key on everything that is provisioned; its value is the queue's name at SQS, which is one of a kind in its account
/// and Region: a name of some configuration is not.
pub const TAG: &str = "firedrill:managed-by";

/// What the name of every rule of ours begins with.
pub const RULE_PREFIX: &str = "firedrill-";

/// Id of the queue among a rule's targets.
pub const TARGET_ID: &str = "firedrill";

/// Bus that AWS's own events arrive on.
pub const DEFAULT_BUS: &str = "default";

/// Most rules that a bus may have (Amazon EventBridge user guide, quotas: 300 in most Regions, adjustable).
pub const MAX_RULES: usize = 300;

/// Longest access policy of a queue, in bytes (Amazon SQS developer guide, policy quotas).
pub const MAX_POLICY_BYTES: usize = 8_192;

/// Longest name of a rule, in characters (Amazon EventBridge API reference, PutRule).
const MAX_RULE_NAME: usize = 64;

/// How long the dead-letter queue keeps messages: as long as SQS does (Amazon SQS API reference, MessageRetentionPeriod).
const DEAD_LETTER_RETENTION: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long a receive waits for messages: as long as SQS lets it.
const LONG_POLL_SECONDS: u32 = 20;

/// What the configuration says of a queue that is to be provisioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bus whose events are wanted, by name.
    pub bus: String,
    /// How often a message is delivered before it goes to the dead-letter queue: 1 to 1,000.
    pub max_receives: u32,
    /// KMS key that messages are encrypted with; SQS's own key without one.
    pub kms_key: Option<String>,
    /// How long the queue keeps messages: 1 minute to 14 days.
    pub retention: SignedDuration,
}

impl Default for Options {
    fn default() -> Self {
        let retention = SignedDuration::from_hours(4 * 24);
        Self { bus: DEFAULT_BUS.to_owned(), max_receives: 5, kms_key: None, retention }
    }
}

/// Where the resources are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// AWS Region.
    pub region: String,
    /// AWS account, 12 digits.
    pub account: String,
}

/// All that is to exist for one queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Where.
    pub site: Site,
    /// The queue that the agent reads.
    pub queue: QueueSpec,
    /// Where messages go that cannot be taken in.
    pub dead_letters: QueueSpec,
    /// Rules that lead to the queue, by name.
    pub rules: BTreeMap<String, RuleSpec>,
}

/// A queue as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name at SQS.
    pub name: String,
    /// Attributes by SQS's names; an empty one is one that is not to be set.
    pub attributes: BTreeMap<String, String>,
}

/// A rule as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    /// Bus that it is on.
    pub bus: String,
    /// Its name.
    pub name: String,
    /// Events that it takes.
    pub pattern: Value,
    /// Name of the queue that it leads to.
    pub queue: String,
    /// Message group of what it sends to a FIFO queue.
    pub group: Option<String>,
    /// Name of the queue that gets what cannot be delivered. A FIFO queue cannot be one (Amazon EventBridge user guide,
    /// dead-letter queues).
    pub dead_letters: Option<String>,
}

/// What cannot be provisioned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// No list in the pattern can be split to make it shorter.
    #[error("a pattern has {bytes} bytes, {max} are possible: `{begin}…`", max = merge::MAX_PATTERN_BYTES)]
    PatternTooLong {
        /// How long it is.
        bytes: usize,
        /// How it begins.
        begin: String,
    },
    /// The triggers need more rules than a bus takes.
    #[error("the triggers need {count} rules, {most} are possible; lead some triggers to another queue with `queues`")]
    TooManyRules {
        /// How many.
        count: usize,
        /// How many are possible.
        most: usize,
    },
    /// The triggers need more rules with wildcards than a bus takes.
    #[error(
        "the triggers need {count} rules with wildcards, a bus takes {most}; names without `*`, or with one at the begin or \
         the end, need none"
    )]
    TooManyWildcards {
        /// How many.
        count: usize,
        /// How many are possible.
        most: usize,
    },
    /// The policy that names every rule is longer than SQS takes.
    #[error(
        "the queue's policy names {rules} rules and has {bytes} bytes, {MAX_POLICY_BYTES} are possible; lead some \
         triggers to another queue with `queues`"
    )]
    PolicyTooLong {
        /// How many rules it names.
        rules: usize,
        /// How long it is.
        bytes: usize,
    },
}

/// Returns account and name of a queue out of its URL, `https://host/ACCOUNT/NAME`.
pub fn queue_of_url(url: &str) -> Option<(&str, &str)> {
    let (rest, name) = url.rsplit_once('/')?;
    let (_, account) = rest.rsplit_once('/')?;
    let base = name.strip_suffix(".fifo").unwrap_or(name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    // Leaves room for the name of the dead-letter queue: SQS takes 80 characters.
    let is_name = !base.is_empty() && base.len() <= 71 && base.chars().all(allowed);
    (is_account && is_name).then_some((account, name))
}

impl Site {
    /// Begins the ARN of a service's resource.
    fn arn(&self, service: &str, resource: &str) -> String {
        let partition = match self.region.as_str() {
            china if china.starts_with("cn-") => "aws-cn",
            government if government.starts_with("us-gov-") => "aws-us-gov",
            _other => "aws",
        };
        format!("arn:{partition}:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// Returns the ARN of a queue.
    pub fn queue(&self, name: &str) -> String {
        self.arn("sqs", name)
    }

    /// Returns the ARN of a rule; one of a bus of its own carries the bus in it.
    pub fn rule(&self, bus: &str, name: &str) -> String {
        let bus = if bus == DEFAULT_BUS { String::new() } else { format!("{bus}/") };
        self.arn("events", &format!("rule/{bus}{name}"))
    }
}

/// Derives what is to exist for a queue from the patterns of the triggers that it serves.
///
/// # Errors
/// [`ProvisionError`] when AWS's limits do not let it be.
pub fn desired(queue: &str, options: &Options, site: &Site, patterns: &[&Value]) -> Result<Desired, ProvisionError> {
    // FIS's own events make the agent look at once; they are on the default bus alone.
    let fis = json!({ "source": ["aws.fis"], "detail-type": ["FIS Experiment State Change"] });
    let fis = (options.bus == DEFAULT_BUS).then_some(&fis);
    let patterns = merge::merged(&patterns.iter().copied().chain(fis).collect::<Vec<_>>())?;
    if patterns.len() > MAX_RULES {
        return Err(ProvisionError::TooManyRules { count: patterns.len(), most: MAX_RULES });
    }
    let (base, fifo) = queue.strip_suffix(".fifo").map_or((queue, ""), |base| (base, ".fifo"));
    let dead_letters = format!("{base}-dlq{fifo}");
    let rule = |pattern| {
        let (group, dead_letters) =
            if fifo.is_empty() { (None, Some(dead_letters.clone())) } else { (Some(queue.to_owned()), None) };
        RuleSpec {
            bus: options.bus.clone(),
            name: rule_name(queue, &pattern),
            pattern,
            queue: queue.to_owned(),
            group,
            dead_letters,
        }
    };
    let rules: BTreeMap<String, RuleSpec> =
        patterns.into_iter().map(rule).map(|rule| (rule.name.clone(), rule)).collect();
    let redrive = json!({ "deadLetterTargetArn": site.queue(&dead_letters), "maxReceiveCount": options.max_receives });
    let policy = site.policy(queue, rules.values().map(|rule| site.rule(&rule.bus, &rule.name)));
    let dead = rules.values().filter(|rule| rule.dead_letters.is_some());
    let dead = site.policy(&dead_letters, dead.map(|rule| site.rule(&rule.bus, &rule.name)));
    let bytes = policy.len().max(dead.len());
    if bytes > MAX_POLICY_BYTES {
        return Err(ProvisionError::PolicyTooLong { rules: rules.len(), bytes });
    }
    let mut attributes = common(options, options.retention, !fifo.is_empty());
    attributes.insert("ReceiveMessageWaitTimeSeconds".to_owned(), LONG_POLL_SECONDS.to_string());
    attributes.insert("RedrivePolicy".to_owned(), redrive.to_string());
    attributes.insert("Policy".to_owned(), policy);
    let mut of_dead = common(options, DEAD_LETTER_RETENTION, !fifo.is_empty());
    of_dead.insert("Policy".to_owned(), dead);
    Ok(Desired {
        queue: QueueSpec { name: queue.to_owned(), attributes },
        dead_letters: QueueSpec { name: dead_letters, attributes: of_dead },
        rules,
        site: site.clone(),
    })
}

/// Names a rule after its queue and its pattern: a rule with another pattern is another rule, which can be there before
/// the old one goes.
fn rule_name(queue: &str, pattern: &Value) -> String {
    let whole = format!("{RULE_PREFIX}{queue}");
    let cut = Name::parse(whole.get(..MAX_RULE_NAME).unwrap_or(&whole));
    cut.map_or_else(|_| whole.clone(), |name| name.detailed(&[queue, &pattern.to_string()]).to_string())
}

/// Returns what the names of all rules of a queue are like, `*` for any characters.
fn rule_names(queue: &str) -> String {
    let one = rule_name(queue, &Value::Null);
    one.rsplit_once('.').map_or(one.clone(), |(begin, _)| format!("{begin}.*"))
}

/// Attributes that the queue and its dead-letter queue share.
fn common(options: &Options, retention: SignedDuration, fifo: bool) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::from([
        ("MessageRetentionPeriod".to_owned(), retention.as_secs().to_string()),
        ("KmsMasterKeyId".to_owned(), options.kms_key.clone().unwrap_or_default()),
    ]);
    if options.kms_key.is_none() {
        attributes.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
    }
    if fifo {
        attributes.insert("FifoQueue".to_owned(), "true".to_owned());
        // Demanded by EventBridge (Amazon EventBridge user guide, targets: SQS FIFO queues).
        attributes.insert("ContentBasedDeduplication".to_owned(), "true".to_owned());
    }
    attributes
}

impl Desired {
    /// Says what its rules are for.
    pub fn rule_description(&self) -> String {
        format!("Leads what the triggers of Firedrill want to queue {}", self.queue.name)
    }
}

/// Makes a name that resources of other tools may have; where it had to leave something out, no other name's is the same.
fn label(name: &str, allowed: fn(char) -> bool) -> String {
    let kept: String = name.chars().filter(|c| allowed(*c)).collect();
    if kept == name { kept } else { format!("{kept}{}", fingerprint(&[name])) }
}

/// Returns the part of a rule's name that stands for its pattern.
fn rule_digest(rule: &RuleSpec) -> &str {
    rule.name.rsplit('.').next().unwrap_or(&rule.name)
}

impl Site {
    /// Writes the access policy of a queue into which some rules, by ARN, may send.
    pub fn policy(&self, queue: &str, rules: impl IntoIterator<Item = String>) -> String {
        let rules = rules.into_iter().map(Value::from).collect();
        policy(&self.queue(queue).into(), rules, &self.account.as_str().into()).to_string()
    }
}

/// Writes the access policy of a queue. Only our rules may send, and only in the name of our account, so that nobody can
/// make EventBridge send into it for him (the confused deputy); and nobody may do anything without TLS.
fn policy(queue: &Value, rules: Vec<Value>, account: &Value) -> Value {
    let mut statements = vec![json!({
        "Sid": "NobodyWithoutTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": queue,
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })];
    if !rules.is_empty() {
        statements.push(json!({
            "Sid": "OurRulesMaySend",
            "Effect": "Allow",
            "Principal": { "Service": "events.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {
                "ArnEquals": { "aws:SourceArn": rules },
                "StringEquals": { "aws:SourceAccount": account },
            },
        }));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}
