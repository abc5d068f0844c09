//! STS (Query protocol): who is calling, and roles to assume.
//!
//! Every role can be assumed: the simulator has no roles and no policies. The credentials work like any others, and
//! nobody is refused when they expire (the simulator's choice).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Scene,
    clock::{later, whole_seconds},
    edge::credentials::SECRET_KEY,
    ids::Ids,
    partition,
    wire::{Answer, ApiError},
};

/// Most sessions that are remembered; the one that expires first goes first.
const MAX_SESSIONS: usize = 1_000;

const DEFAULT_SECONDS: i64 = 3_600;

/// Shape of ids of keys and users: four letters and 16 more characters.
const ID_LENGTH: usize = 16;

/// Who assumed which role, by access key.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: BTreeMap<String, Session>,
}

#[derive(Debug)]
struct Session {
    arn: String,
    id: String,
    expires: Timestamp,
}

/// The operations there are.
pub(super) const OPERATIONS: &[&str] = &["GetCallerIdentity", "AssumeRole"];

impl Sessions {
    /// Who assumed which role until when, for the state page.
    pub(super) fn dump(&self) -> Value {
        let shown = |session: &Session| json!({"arn": session.arn, "expires": session.expires.to_string()});
        self.sessions.values().map(shown).collect()
    }

    /// Performs an operation.
    ///
    /// # Errors
    /// `ValidationError` for input that does not fit.
    pub(super) fn perform(
        &mut self,
        operation: &str,
        access_key: &str,
        body: &Value,
        scene: &Scene,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Answer {
        let result = match operation {
            "GetCallerIdentity" => self.caller(access_key, scene),
            "AssumeRole" => self.assume(body, ids, now)?,
            _other => return Err(ApiError::unknown_operation()),
        };
        Ok(json!({ operation: result }))
    }

    fn caller(&self, access_key: &str, scene: &Scene) -> Value {
        match self.sessions.get(access_key) {
            Some(Session { arn, id, .. }) => {
                let account = arn.split(':').nth(4).unwrap_or_default();
                json!({"UserId": id, "Account": account, "Arn": arn})
            }
            None => {
                let arn = format!("arn:{}:iam::{}:user/simulator", partition(&scene.region), scene.account);
                json!({"UserId": "AIDASIMULATOR1234567", "Account": scene.account, "Arn": arn})
            }
        }
    }

    fn assume(&mut self, body: &Value, ids: &mut Ids, now: Timestamp) -> Result<Value, ApiError> {
        let text = |member: &str| body.get(member).and_then(Value::as_str).unwrap_or_default();
        let (account, role) = parsed_role(text("RoleArn"))?;
        let session = text("RoleSessionName");
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session.len()) || !session.chars().all(allowed) {
            return Err(invalid("roleSessionName", session, "2 to 64 characters of [\\w+=,.@-]"));
        }
        let seconds = match body.get("DurationSeconds").and_then(Value::as_str) {
            None => DEFAULT_SECONDS,
            Some(text) => match text.parse() {
                Ok(seconds @ 900..=43_200) => seconds,
                _outside => return Err(invalid("durationSeconds", text, "a number between 900 and 43200")),
            },
        };
        let expires = later(now, SignedDuration::from_secs(seconds));
        let partition = text("RoleArn").split(':').nth(1).unwrap_or("aws");
        let arn = format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}");
        let id = format!("{}:{session}", upper_id("AROA", ids));
        let key = upper_id("ASIA", ids);
        if self.sessions.len() >= MAX_SESSIONS {
            let first = self.sessions.iter().min_by_key(|(_, session)| session.expires).map(|(key, _)| key.clone());
            first.and_then(|key| self.sessions.remove(&key));
        }
        self.sessions.insert(key.clone(), Session { arn: arn.clone(), id: id.clone(), expires });
        Ok(json!({
            "Credentials": {
                "AccessKeyId": key,
                "SecretAccessKey": SECRET_KEY,
                "SessionToken": ids.uuid(),
                "Expiration": whole_seconds(expires),
            },
            "AssumedRoleUser": {"AssumedRoleId": id, "Arn": arn},
            "PackedPolicySize": 0,
        }))
    }
}

/// Account and name of a role, without the path: `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
fn parsed_role(arn: &str) -> Result<(&str, &str), ApiError> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", "aws" | "aws-cn" | "aws-us-gov", "iam", "", account, role]
            if account.len() == 12 && account.bytes().all(|c| c.is_ascii_digit()) =>
        {
            let name = role.strip_prefix("role/").and_then(|path| path.rsplit('/').next());
            name.filter(|name| !name.is_empty()).map(|name| (*account, name))
        }
        _other => None,
    }
    .ok_or_else(|| {
        let reason = if (20..=2_048).contains(&arn.len()) { "is invalid" } else { "must have 20 to 2048 characters" };
        ApiError::bad("ValidationError", format!("{arn} {reason}"))
    })
}

fn invalid(member: &str, value: &str, wanted: &str) -> ApiError {
    let text =
        format!("1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {wanted}");
    ApiError::bad("ValidationError", text)
}

fn upper_id(prefix: &str, ids: &mut Ids) -> String {
    let drawn = ids.uuid().replace('-', "").to_ascii_uppercase();
    format!("{prefix}{}", drawn.get(..ID_LENGTH).unwrap_or(&drawn))
}
