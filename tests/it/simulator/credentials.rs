//! Credentials: they must be there, and signatures are checked when asked for. The simulator's own interface is for
//! callers on this machine.

use firedrill::simulator::Signatures;

use super::*;
use crate::support::wire::AUTHORIZATION;

fn verified() -> Options {
    Options { signatures: Signatures::Verified, ..fast() }
}

#[test]
fn requests_without_credentials_are_refused() {
    simulated(fast(), async |world| {
        let query = "?X-Amz-Credential=simulator%2F20260301%2Fus-east-1%2Ffis%2Faws4_request&X-Amz-Signature=0";
        let presigned = format!("/experiments{query}");
        let odd = format!("{presigned}&X-Amz-Expires=soon");
        let missing = (403, "MissingAuthenticationToken");
        let incomplete = (403, "IncompleteSignature");
        let with = |text| Some(("authorization", text));
        for (method, path, header, expected) in [
            ("GET", "/experiments", None, missing),
            ("GET", "/nowhere", None, missing),
            ("POST", "/", Some(("x-amz-target", "AmazonSQS.ListQueues")), missing),
            ("POST", "/", Some(("x-amz-target", "AWSEvents.ListRules")), missing),
            ("GET", "/experiments", with("Bearer token"), incomplete),
            ("GET", "/experiments", with("AWS4-HMAC-SHA256"), incomplete),
            ("GET", "/experiments", with("AWS4-HMAC-SHA256 Credential=a"), incomplete),
            ("GET", "/experiments", with(AUTHORIZATION), (200, "")),
            ("GET", &presigned, None, (200, "")),
            ("GET", &odd, None, incomplete),
            ("GET", "/_simulator/state", None, (200, "")),
        ] {
            let reply = world.wire.send(method, path, header.as_slice(), "").await;
            assert_eq!((reply.status, reply.code.as_str()), expected, "{method} {path} {header:?}: {reply:?}");
            assert!(reply.headers.contains_key("x-amzn-requestid"), "{method} {path}: {reply:?}");
            assert!(reply.code.is_empty() || reply.text.contains("message"), "{reply:?}");
        }
        world
    });
}

#[test]
fn own_interface_is_for_callers_on_this_machine() {
    simulated(fast(), async |world| {
        let port = world.simulator.addr().port();
        let with_port = |host: &str| format!("{host}:{port}");
        for (name, value, expected) in [
            ("host", "localhost", 200),
            ("host", &with_port("localhost"), 200),
            ("host", &with_port("127.0.0.1"), 200),
            ("host", "[::1]:80", 200),
            ("host", "rebound.example.com", 403),
            ("host", &with_port("rebound.example.com"), 403),
            ("host", "127.0.0.1.example.com", 403),
            ("host", "localhost.example.com", 403),
            ("host", "10.0.0.1", 403),
            ("host", "[2001:db8::1]", 403),
            ("origin", "https://example.com", 403),
            ("origin", "null", 403),
        ] {
            for (method, path) in [("GET", "/_simulator/state"), ("DELETE", "/_simulator/faults")] {
                let reply = world.wire.send(method, path, &[(name, value)], "").await;
                assert_eq!(reply.status, expected, "{name}: {value}: {reply:?}");
            }
        }
        let asked = world.wire.send("OPTIONS", "/_simulator/faults", &[("host", "localhost")], "").await;
        assert_eq!(asked.status, 404, "there is no CORS");
        world
    });
}

#[test]
fn what_the_sdks_sign_is_verified() {
    simulated(verified(), async |world| {
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
        let config = sdk(world.simulator.url(), temporary).await;
        aws_sdk_fis::Client::new(&config).list_actions().send().await.expect("a list");
        world
    });
}

#[test]
fn what_is_signed_wrongly_is_refused() {
    simulated(verified(), async |world| {
        let refused = async |key: &str, secret: &str| {
            let config = sdk(world.simulator.url(), keys(key, secret)).await;
            let fis = aws_sdk_fis::Client::new(&config).list_experiments().send().await.expect_err("refused");
            let events = aws_sdk_eventbridge::Client::new(&config).list_rules().send().await.expect_err("refused");
            assert_eq!(fis.code(), events.code());
            fis.code().expect("a code").to_owned()
        };
        assert_eq!(refused("simulator", "other").await, "InvalidSignatureException");
        assert_eq!(refused("other", "simulator").await, "UnrecognizedClientException");
        let code = async |change: fn(&mut aws_sdk_fis::config::http::HttpRequest)| {
            let call = world.fis.list_experiments().customize();
            let changed = call.interceptor(Meddler(change)).send().await;
            changed.expect_err("refused").code().expect("a code").to_owned()
        };
        let mismatch = "InvalidSignatureException";
        // Signed well, but for another service.
        assert_eq!(
            code(|request| drop(request.headers_mut().insert("x-amz-target", "AmazonSQS.ListQueues"))).await,
            mismatch
        );
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
