//! Credentials: they must be there, and signatures are checked when asked for. The simulator's own interface is for
//! callers on this machine.

use aws_sdk_fis::{config::SharedCredentialsProvider, error::ProvideErrorMetadata};
use firedrill::simulator::Signatures;
use reqwest::{blocking::Client, header::HeaderMap};

use super::*;
use crate::support::stage::AUTHORIZATION;

/// Sends a request with these headers alone and returns status, error code and body.
fn sent(client: &Client, method: &str, url: &str, headers: &[(&'static str, String)]) -> (u16, String, String) {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect();
    let request = client.request(method.parse().expect("a method"), url).headers(headers);
    let answer = request.send().expect("an answer");
    assert!(answer.headers().contains_key("x-amzn-requestid"), "{method} {url}");
    let code = answer.headers().get("x-amzn-errortype").map(|code| code.to_str().expect("text").to_owned());
    (answer.status().as_u16(), code.unwrap_or_default(), answer.text().expect("text"))
}

/// A client without credentials.
fn bare_client() -> Client {
    // It needs a TLS provider even for plain HTTP; an error means that another test was first.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("a client")
}

fn verified() -> Options {
    Options { signatures: Signatures::Verified, ..fast() }
}

#[test]
fn requests_without_credentials_are_refused() {
    simulated(fast(), async |world| {
        let url = world.simulator.url();
        let seen = tokio::task::spawn_blocking(move || {
            let client = bare_client();
            let target = |name: &str| ("x-amz-target", name.to_owned());
            let authorization = |text: &str| ("authorization", text.to_owned());
            let query = "?X-Amz-Credential=simulator%2F20260301%2Fus-east-1%2Ffis%2Faws4_request&X-Amz-Signature=0";
            let missing = (403, "MissingAuthenticationToken");
            let incomplete = (403, "IncompleteSignature");
            for (method, path, headers, expected) in [
                ("GET", "/experiments".to_owned(), vec![], missing),
                ("GET", "/nowhere".to_owned(), vec![], missing),
                ("POST", "/".to_owned(), vec![target("AmazonSQS.ListQueues")], missing),
                ("POST", "/".to_owned(), vec![target("AWSEvents.ListRules")], missing),
                ("GET", "/experiments".to_owned(), vec![authorization("Bearer token")], incomplete),
                ("GET", "/experiments".to_owned(), vec![authorization("AWS4-HMAC-SHA256")], incomplete),
                ("GET", "/experiments".to_owned(), vec![authorization("AWS4-HMAC-SHA256 Credential=a")], incomplete),
                ("GET", "/experiments".to_owned(), vec![authorization(AUTHORIZATION)], (200, "")),
                ("GET", format!("/experiments{query}"), vec![], (200, "")),
                ("GET", format!("/experiments{query}&X-Amz-Expires=soon"), vec![], incomplete),
                ("GET", "/_simulator/state".to_owned(), vec![], (200, "")),
            ] {
                let (status, code, body) = sent(&client, method, &format!("{url}{path}"), &headers);
                assert_eq!((status, code.as_str()), expected, "{method} {path} {headers:?}: {body}");
                if !code.is_empty() {
                    assert!(body.contains("message"), "{body}");
                }
            }
        });
        seen.await.expect("no panic");
        world
    });
}

#[test]
fn own_interface_is_for_callers_on_this_machine() {
    simulated(fast(), async |world| {
        let url = world.simulator.url();
        let port = world.simulator.addr().port();
        let seen = tokio::task::spawn_blocking(move || {
            let client = bare_client();
            let host = |name: &str| vec![("host", name.to_owned())];
            for (headers, expected) in [
                (host("localhost"), 200),
                (host(&format!("localhost:{port}")), 200),
                (host(&format!("127.0.0.1:{port}")), 200),
                (host("[::1]:80"), 200),
                (host("rebound.example.com"), 403),
                (host(&format!("rebound.example.com:{port}")), 403),
                (host("127.0.0.1.example.com"), 403),
                (host("localhost.example.com"), 403),
                (host("10.0.0.1"), 403),
                (host("[2001:db8::1]"), 403),
                (vec![("origin", "https://example.com".to_owned())], 403),
                (vec![("origin", "null".to_owned())], 403),
            ] {
                for (method, path) in [("GET", "state"), ("DELETE", "faults")] {
                    let (status, _, body) = sent(&client, method, &format!("{url}/_simulator/{path}"), &headers);
                    assert_eq!(status, expected, "{headers:?}: {body}");
                }
            }
            let (status, ..) = sent(&client, "OPTIONS", &format!("{url}/_simulator/faults"), &host("localhost"));
            assert_eq!(status, 404, "there is no CORS");
        });
        seen.await.expect("no panic");
        world
    });
}

/// The world's clients with the simulator's key, or another one.
async fn signed_with(world: &World, key: &str, secret: &str) -> aws_config::SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(world.simulator.url())
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

#[test]
fn what_the_sdks_sign_is_verified() {
    simulated(verified(), async |mut world| {
        let config = signed_with(&world, "simulator", "simulator").await;
        world.fis = aws_sdk_fis::Client::new(&config);
        world.sqs = aws_sdk_sqs::Client::new(&config);
        world.events = aws_sdk_eventbridge::Client::new(&config);
        let queue = world.subscribed("aws.fis").await;
        let template = world.template([wait("w", MINUTE, &[])]).await;
        let id = world.start(&template, "t").await;
        assert_eq!(world.bodies(&queue, 3).await.len(), 3);
        // Labels and queries whose characters are encoded once on the wire and once more in the signature.
        world.fis.get_action().id("aws:ec2:stop-instances").send().await.expect("an action");
        let arn = format!("arn:aws:fis:us-east-1:123456789012:experiment/{id}");
        world.fis.tag_resource().resource_arn(&arn).tags("a b/ü", "c+d").send().await.expect("tagged");
        let untag = world.fis.untag_resource().resource_arn(&arn).tag_keys("a b/ü").tag_keys("x&y=z*~'+%");
        untag.send().await.expect("untagged");
        let tags = world.fis.list_tags_for_resource().resource_arn(&arn).send().await.expect("tags");
        assert_eq!(tags.tags().map(std::collections::HashMap::len), Some(0));
        let filtered = world.fis.list_experiments().experiment_template_id(&template).max_results(5);
        assert_eq!(filtered.send().await.expect("a list").experiments().len(), 1);
        // Temporary credentials carry a token that is signed too.
        let temporary = Credentials::new("ASIASIMULATED", "simulator", Some("token".to_owned()), None, "test");
        let config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(temporary)).build();
        aws_sdk_fis::Client::new(&config).list_actions().send().await.expect("a list");
        world
    });
}

#[test]
fn what_is_signed_wrongly_is_refused() {
    simulated(verified(), async |world| {
        let refused = async |key: &str, secret: &str| {
            let config = signed_with(&world, key, secret).await;
            let fis = aws_sdk_fis::Client::new(&config).list_experiments().send().await.expect_err("refused");
            let events = aws_sdk_eventbridge::Client::new(&config).list_rules().send().await.expect_err("refused");
            assert_eq!(fis.code(), events.code());
            fis.code().expect("a code").to_owned()
        };
        assert_eq!(refused("simulator", "other").await, "InvalidSignatureException");
        assert_eq!(refused("other", "simulator").await, "UnrecognizedClientException");
        let fis = aws_sdk_fis::Client::new(&signed_with(&world, "simulator", "simulator").await);
        let code = async |change: fn(&mut aws_sdk_fis::config::http::HttpRequest)| {
            let call = fis.list_experiments().customize();
            let changed = call.interceptor(Meddler(change)).send().await;
            changed.expect_err("refused").code().expect("a code").to_owned()
        };
        let mismatch = "InvalidSignatureException";
        assert_eq!(
            code(|request| drop(request.headers_mut().insert("x-amz-date", "20200101T000000Z"))).await,
            mismatch
        );
        assert_eq!(code(|request| drop(request.headers_mut().remove("x-amz-date"))).await, "IncompleteSignature");
        assert_eq!(
            code(|request| {
                let other = request.uri().replace("experiments", "actions");
                request.set_uri(other).expect("a URI");
            })
            .await,
            mismatch
        );
        world
    });
}

/// Changes a request after it was signed.
#[derive(Debug)]
struct Meddler(fn(&mut aws_sdk_fis::config::http::HttpRequest));

impl aws_sdk_fis::config::Intercept for Meddler {
    fn name(&self) -> &'static str {
        "meddler"
    }

    fn modify_before_transmit(
        &self,
        context: &mut aws_sdk_fis::config::interceptors::BeforeTransmitInterceptorContextMut<'_>,
        _components: &aws_sdk_fis::config::RuntimeComponents,
        _bag: &mut aws_sdk_fis::config::ConfigBag,
    ) -> Result<(), aws_sdk_fis::error::BoxError> {
        (self.0)(context.request_mut());
        Ok(())
    }
}
