//! Who may call: requests to AWS's operations must carry credentials, the simulator's own interface must be local.
//!
//! Presence is always checked; the signature itself (AWS Signature Version 4, IAM user guide, "create a signed AWS API
//! request") when asked for. It is computed anew by the SDK's own signer over what the client says it signed.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use axum::http::{StatusCode, header, request::Parts};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::simulator::wire::{ApiError, Query, percent_decoded};

/// The access key that the simulator knows, and its secret.
pub const ACCESS_KEY: &str = "simulator";
/// Secret of [`ACCESS_KEY`], and of every key that the simulator's STS hands out.
pub const SECRET_KEY: &str = "simulator";
/// What access keys of temporary credentials begin with (IAM user guide, unique identifiers).
const TEMPORARY: &str = "ASIA";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a request's date may be from the clock (IAM user guide, "Why requests are signed").
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Parameters that a signature in the query adds; the signer adds them itself.
const QUERY_PARTS: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// Whether signatures are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signatures {
    /// Credentials must be there, of whatever kind.
    #[default]
    Unchecked,
    /// Requests must be signed with the simulator's key.
    Verified,
}

/// What a request says about its signature.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    algorithm: String,
    credential: String,
    signed_headers: String,
    signature: String,
    date: String,
    /// How long a signature in the query is good for; `None` for one in the header.
    expires: Option<Duration>,
}

/// Who signed a request, and for which service: `KEY/DATE/REGION/SERVICE/aws4_request`.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Signer {
    pub(in crate::simulator) access_key: String,
    pub(in crate::simulator) service: String,
}

/// Who signed a request, in its head or in its query, as far as it can be read.
pub(in crate::simulator) fn signer(parts: &Parts) -> Option<Signer> {
    let claim = Claim::read(parts).ok()?;
    let mut scope = claim.credential.split('/').map(str::to_owned);
    Some(Signer { access_key: scope.next()?, service: scope.nth(2)? })
}

/// Checks the credentials of a request to AWS's operations.
///
/// # Errors
/// 403: `MissingAuthenticationToken`, `IncompleteSignature`, and when signatures are verified
/// `UnrecognizedClientException` or `InvalidSignatureException`.
pub(in crate::simulator) fn check(
    parts: &Parts,
    body: &[u8],
    signatures: Signatures,
    region: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let claim = Claim::read(parts)?;
    match signatures {
        Signatures::Unchecked => Ok(()),
        Signatures::Verified => claim.verify(parts, body, region, now),
    }
}

/// Checks that a request is signed for the service that it calls.
///
/// # Errors
/// 403 `InvalidSignatureException`.
pub(in crate::simulator) fn check_service(parts: &Parts, service: &str) -> Result<(), ApiError> {
    match signer(parts) {
        Some(signer) if signer.service == service => Ok(()),
        _other => Err(mismatch(format!("Credential should be scoped to correct service: '{service}'."))),
    }
}

fn refused(code: &'static str, text: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, text)
}

fn mismatch(text: impl Into<String>) -> ApiError {
    refused("InvalidSignatureException", text)
}

impl Claim {
    fn read(parts: &Parts) -> Result<Self, ApiError> {
        let Some(header) = parts.headers.get(header::AUTHORIZATION) else {
            return Self::read_query(parts.uri.query().unwrap_or_default());
        };
        let incomplete = |what: &str| refused("IncompleteSignature", format!("Authorization header {what}"));
        let text = header.to_str().map_err(|_bytes| incomplete("is not text"))?;
        let (algorithm, rest) = text.trim().split_once(' ').ok_or_else(|| incomplete("has no parameters"))?;
        if !algorithm.starts_with("AWS4-") {
            return Err(incomplete(&format!("must begin with {ALGORITHM}")));
        }
        let part = |name: &str| {
            let mut pairs = rest.split(',').filter_map(|pair| pair.trim().split_once('='));
            let found = pairs.find(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| value.to_owned()).ok_or_else(|| incomplete(&format!("requires '{name}' parameter.")))
        };
        let date = ["x-amz-date", "date"].iter().find_map(|name| parts.headers.get(*name)?.to_str().ok());
        Ok(Self {
            algorithm: algorithm.to_owned(),
            credential: part("Credential")?,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
            date: date.unwrap_or_default().to_owned(),
            expires: None,
        })
    }

    fn read_query(query: &str) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let part = |name: &str| query.get(name).map(str::to_owned);
        let (Some(credential), Some(signature)) = (part("X-Amz-Credential"), part("X-Amz-Signature")) else {
            return Err(refused("MissingAuthenticationToken", "Missing Authentication Token"));
        };
        // Without a lifetime a signature is good for no time at all.
        let seconds: u32 = query
            .get("X-Amz-Expires")
            .unwrap_or("0")
            .parse()
            .map_err(|_text| refused("IncompleteSignature", "X-Amz-Expires must be a number of seconds"))?;
        Ok(Self {
            algorithm: part("X-Amz-Algorithm").unwrap_or_default(),
            credential,
            signed_headers: part("X-Amz-SignedHeaders").unwrap_or_default(),
            signature,
            date: part("X-Amz-Date").unwrap_or_default(),
            expires: Some(Duration::from_secs(seconds.into())),
        })
    }

    fn verify(&self, parts: &Parts, body: &[u8], region: &str, now: Timestamp) -> Result<(), ApiError> {
        if self.algorithm != ALGORITHM {
            return Err(refused("IncompleteSignature", format!("the simulator verifies {ALGORITHM} only")));
        }
        let scope: Vec<&str> = self.credential.split('/').collect();
        let [key, day, scope_region, service, "aws4_request"] = scope.as_slice() else {
            return Err(refused("IncompleteSignature", "Credential must be KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        if *key != ACCESS_KEY && !key.starts_with(TEMPORARY) {
            let text = "The security token included in the request is invalid.";
            return Err(refused("UnrecognizedClientException", text));
        }
        let signed_at = self.signed_at(now)?;
        if !self.date.starts_with(day) {
            return Err(mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date."));
        }
        if *scope_region != region {
            return Err(mismatch(format!("Credential should be scoped to the simulator's region, {region}.")));
        }
        let expected = self.expected(parts, body, (*scope_region, *service), signed_at.into());
        if expected.as_deref() != Some(self.signature.as_str()) {
            return Err(mismatch(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            ));
        }
        Ok(())
    }

    /// When it was signed, if that is not too long ago and not to come.
    fn signed_at(&self, now: Timestamp) -> Result<Timestamp, ApiError> {
        let read = DateTime::strptime("%Y%m%dT%H%M%SZ", &self.date).and_then(|at| at.to_zoned(TimeZone::UTC));
        let at = read.map_err(|_form| {
            refused("IncompleteSignature", "X-Amz-Date must be there and look like 20260301T020000Z")
        })?;
        let at = at.timestamp();
        let lifetime = self.expires.and_then(|time| SignedDuration::try_from(time).ok()).unwrap_or(MAX_SKEW);
        if now.duration_since(at) > lifetime {
            let text = format!("Signature expired: {} is now earlier than {now} - {lifetime:#}.", self.date);
            return Err(mismatch(text));
        }
        if at.duration_since(now) > MAX_SKEW {
            return Err(mismatch(format!(
                "Signature not yet current: {} is still later than {now} + {MAX_SKEW:#}.",
                self.date
            )));
        }
        Ok(at)
    }

    /// The signature that the request should have; `None` when nothing that can be signed is described.
    fn expected(
        &self,
        parts: &Parts,
        body: &[u8],
        (region, service): (&str, &str),
        signed_at: SystemTime,
    ) -> Option<String> {
        let mut headers = Vec::new();
        for name in self.signed_headers.split(';') {
            let values: Result<Vec<_>, _> = parts.headers.get_all(name).iter().map(|value| value.to_str()).collect();
            headers.push((name, values.ok().filter(|values| !values.is_empty())?.join(",")));
        }
        headers.iter().find(|(name, _)| *name == "host")?;
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        if self.expires.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = self.expires;
        }
        let identity = Credentials::new(self.credential.split('/').next()?, SECRET_KEY, None, None, "simulator").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(signed_at)
            .settings(settings)
            .build()
            .ok()?;
        let uri = format!("http://{}{}", parts.headers.get(header::HOST)?.to_str().ok()?, signed_target(parts));
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new(parts.method.as_str(), uri, headers, SignableBody::Bytes(body)).ok()?;
        Some(sign(request, &params.into()).ok()?.into_parts().1)
    }
}

/// Path and query without what a signature in the query adds.
fn signed_target(parts: &Parts) -> String {
    let added = |pair: &&str| {
        let name = percent_decoded(pair.split('=').next().unwrap_or_default());
        name.is_some_and(|name| QUERY_PARTS.contains(&name.as_str()))
    };
    let query = parts.uri.query().unwrap_or_default();
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !added(pair)).collect();
    let separator = if kept.is_empty() { "" } else { "?" };
    format!("{}{separator}{}", parts.uri.path(), kept.join("&"))
}

/// Checks that a request to the simulator's own interface comes from this machine and from no web page: a page can make
/// a browser call loopback, under the page's own name (DNS rebinding) or with the page's origin.
///
/// # Errors
/// 403 `AccessDeniedException`.
pub(in crate::simulator) fn check_local(parts: &Parts, caller: IpAddr) -> Result<(), ApiError> {
    let refused = |text: &str| Err(refused("AccessDeniedException", text));
    if !caller.to_canonical().is_loopback() {
        return refused("the simulator's own interface answers callers on this machine only");
    }
    if parts.headers.contains_key(header::ORIGIN) {
        return refused("the simulator's own interface is not for web pages");
    }
    let named = parts.headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let mut hosts: Vec<&str> = named.chain(parts.uri.authority().map(|authority| authority.as_str())).collect();
    hosts.retain(|host| !is_loopback(host));
    if !hosts.is_empty() || !parts.headers.contains_key(header::HOST) {
        return refused("the Host header must name this machine: localhost, 127.0.0.1 or [::1]");
    }
    Ok(())
}

/// Tells whether a host, with or without a port, is loopback by its very name.
fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().and_then(|ip| ip.parse().ok()).is_some_and(|ip: IpAddr| ip.is_loopback());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}
