//! Client tokens: the same token with the same request leads to the same object, with another one to a conflict.
//!
//! AWS says no more than that tokens make requests idempotent. How long one is remembered is the simulator's choice: as
//! long as its object is kept. So a token whose template was deleted makes a new one.

use std::collections::HashMap;

use serde_json::json;

use super::model::Input;
use crate::simulator::wire::ApiError;

/// What a token was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Template,
    Account,
    Experiment,
}

/// SHA-256 of an input.
type Digest = [u8; 32];

/// Every token that is remembered, with the digest of its request and the id it led to.
#[derive(Debug, Default)]
pub(super) struct Tokens(HashMap<(Kind, String), (Digest, String)>);

impl Tokens {
    /// The id that a token led to before.
    ///
    /// # Errors
    /// `ConflictException` when it came with another request.
    pub(super) fn repeated(&self, kind: Kind, token: &str, input: &Input) -> Result<Option<String>, ApiError> {
        match self.0.get(&(kind, token.to_owned())) {
            None => Ok(None),
            Some((known, id)) if *known == digest(input) => Ok(Some(id.clone())),
            Some(_) => Err(ApiError::conflict("The client token was used with other parameters.")),
        }
    }

    /// Remembers what a token led to.
    pub(super) fn remember(&mut self, kind: Kind, token: &str, input: &Input, id: &str) {
        self.0.insert((kind, token.to_owned()), (digest(input), id.to_owned()));
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a token with its object.
    pub(super) fn forget(&mut self, kind: Kind, token: &str) {
        self.0.remove(&(kind, token.to_owned()));
    }
}

/// Digest of an input; members of objects are in the order of their names.
fn digest(input: &Input) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(json!(input.members()).to_string()).into()
}
