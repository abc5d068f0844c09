//! Checks of webhooks: each has a secret, a name that no queue has, and a listener.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        path::KeyPath,
        raw::{RawSignature, RawWebhook},
        secret_file::{self, SecretError},
        settings::{Secret, Signature, Webhook},
    },
    Check,
};
use crate::domain::ids::Name;

impl Check<'_> {
    /// Checks all webhooks and reads their secrets.
    pub(super) fn webhooks(&mut self, raw: BTreeMap<String, RawWebhook>, listens: bool) -> BTreeMap<Name, Webhook> {
        let all = KeyPath::default().key("http").key("webhooks");
        if !raw.is_empty() && !listens {
            let hint = "set `http.listen`, such as `0.0.0.0:9810`, and put TLS before it".to_owned();
            self.problem(&all, "nothing would reach them: the agent has no listener".to_owned(), Some(hint));
        }
        let mut webhooks = BTreeMap::new();
        for (name, raw) in raw {
            let path = all.key(&name);
            if self.declared_sources.contains(&name) {
                self.problem(&path, format!("there is a queue `{name}` too: a source's name is one of all"), None);
            }
            self.declared_sources.push(name.clone());
            let signature = self.required(&path.key("signature"), raw.signature).map(|signature| match signature {
                RawSignature::Github => Signature::Github,
                RawSignature::Flux => Signature::Flux,
            });
            let file = self.required(&path.key("secret_file"), raw.secret_file);
            let secret = file.and_then(|file| self.secret(&path.key("secret_file"), &file));
            if let (Some(name), Some(signature), Some(secret)) = (self.name(&path, &name), signature, secret) {
                webhooks.insert(name, Webhook { signature, secret });
            }
        }
        webhooks
    }

    /// Reads a secret; inside it is `None` where this user may not, which the agent's may.
    fn secret(&mut self, path: &KeyPath, file: &str) -> Option<Option<Secret>> {
        let file = self.beside(path, file)?;
        match secret_file::read(&file) {
            Ok((secret, doubts)) => {
                for doubt in doubts {
                    self.warn(path, format!("`{}`: {doubt}", file.display()));
                }
                Some(Some(secret))
            }
            Err(error @ SecretError::NotOurs) => {
                self.warn(path, format!("`{}`: {error}; without it the agent takes nothing there", file.display()));
                Some(None)
            }
            Err(error) => {
                self.problem(path, format!("`{}`: {error}", file.display()), None);
                None
            }
        }
    }

    /// Finds a file: what does not begin at the root is below the folder of the file that names it.
    pub(super) fn beside(&mut self, path: &KeyPath, file: &str) -> Option<PathBuf> {
        let file = PathBuf::from(file);
        let named_in = self.index.value(path).filter(|place| place.position.is_some());
        match named_in.as_ref().and_then(|place| Path::new(&place.source).parent()) {
            _ if file.is_absolute() => Some(file),
            Some(folder) => Some(folder.join(file)),
            None => {
                let hint =
                    "a path is looked for beside the file that names it, and a variable stands in none".to_owned();
                self.problem(path, format!("`{}` is not an absolute path", file.display()), Some(hint));
                None
            }
        }
    }
}
