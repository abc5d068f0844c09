//! Random templates over the whole catalogue: a valid one is accepted, one with a single thing wrong is refused.
//!
//! [`draw`] makes valid templates and [`damage`] breaks them. A seed names a template and its damage; one that
//! goes wrong is named with the command that replays it.

mod damage;
pub(super) mod draw;

use super::*;
use crate::support::chance::Chance;

/// Names the one seed to run.
const SEED_VARIABLE: &str = "FIREDRILL_TEMPLATE_SEED";

const TEMPLATES: u64 = 5_000;
const DISFIGURED: u64 = 1_000;

/// Clients that send at the same time.
const CLIENTS: u64 = 4;

/// Sends the template of a seed, of an odd one damaged; returns the damage, or what went wrong.
async fn lived(wire: Wire, seed: u64) -> Result<Option<&'static str>, String> {
    let mut chance = Chance::new(seed);
    let mut body = draw::template(&mut chance);
    body["clientToken"] = json!(format!("seed-{seed}"));
    if seed.is_multiple_of(2) {
        let created = wire.call("POST", "/experimentTemplates", &body).await;
        let id = created.body["experimentTemplate"]["id"].as_str().unwrap_or_default();
        let deleted = wire.call("DELETE", &format!("/experimentTemplates/{id}"), &Value::Null).await;
        let fits = created.status == 200 && deleted.body == created.body;
        return if fits { Ok(None) } else { Err(format!("{created:?} and {deleted:?} for valid {body}")) };
    }
    let damage = damage::applied(&mut body, &mut chance);
    let refused = wire.call("POST", "/experimentTemplates", &body).await;
    let code = if damage.status == 402 { "ServiceQuotaExceededException" } else { "ValidationException" };
    if (refused.status, refused.code.as_str()) != (damage.status, code) || !refused.message().contains(&damage.place) {
        return Err(format!("{refused:?} does not say {} of `{}` in {body}", damage.kind, damage.place));
    }
    Ok(Some(damage.kind))
}

/// Replaces something somewhere in a body by something else.
fn disfigured(node: &mut Value, chance: &mut Chance) {
    let within = match node {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if within > 0 && !chance.one_in(6) {
        let last = u64::try_from(within).expect("a length") - 1;
        let index = usize::try_from(chance.between(0, last)).expect("an index");
        let inner = match node {
            Value::Object(members) => members.values_mut().nth(index),
            list => list.get_mut(index),
        };
        return disfigured(inner.expect("it is there"), chance);
    }
    let strings = [
        "",
        " ",
        "\0",
        "PT1M",
        "COUNT(99999999999999999999)",
        "arn:::::::",
        "P9999999999999999999D",
        "é{}\"[",
        "\u{202e}",
    ];
    *node = match chance.between(0, 9) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.5e300),
        3 => json!([]),
        4 => json!({}),
        5 => json!([null, {"source": null}]),
        6 => json!({"": {"actionId": {}}, "a": null}),
        7 => json!("x".repeat(5_000)),
        _text => json!(chance.pick(&strings)),
    };
}

/// Sends the template of a seed with something in it replaced by anything: it is answered, whatever it is.
async fn survived(wire: Wire, seed: u64) -> Result<(), String> {
    let mut chance = Chance::new(seed);
    let mut body = draw::template(&mut chance);
    body["clientToken"] = json!(format!("seed-{seed}"));
    disfigured(&mut body, &mut chance);
    if !body.is_object() {
        // A list or a string is no request at all.
        return Ok(());
    }
    // Two seeds may draw the same token, and for the second of them FIS refuses rightly.
    if let Some(token) = body["clientToken"].as_str().filter(|token| token.is_ascii() && !token.trim().is_empty()) {
        body["clientToken"] = json!(format!("{token}-{seed}"));
    }
    let reply = wire.call("POST", "/experimentTemplates", &body).await;
    if let Some(id) = reply.body["experimentTemplate"]["id"].as_str() {
        wire.call("DELETE", &format!("/experimentTemplates/{id}"), &Value::Null).await;
    }
    if [200, 400, 402].contains(&reply.status) { Ok(()) } else { Err(format!("{reply:?} for {body}")) }
}

/// Lives through so many seeds, or the one that is asked for; panics with those that went wrong and how to replay them.
async fn all<T: Send + 'static, F: Future<Output = Result<T, String>> + Send>(
    world: &World,
    count: u64,
    live: fn(Wire, u64) -> F,
) -> Vec<T> {
    let one = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse::<u64>().expect("a seed is a number"));
    let seeds = one.map_or(0..count, |seed| seed..seed + 1);
    let clients = (0..CLIENTS).map(|client| {
        let (wire, own) = (world.wire.clone(), seeds.clone().filter(move |seed| seed % CLIENTS == client));
        async move {
            let mut lives = Vec::new();
            for seed in own {
                lives.push((seed, live(wire.clone(), seed).await));
            }
            lives
        }
    });
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for (seed, life) in futures_util::future::join_all(clients).await.into_iter().flatten() {
        match life {
            Ok(seen) => good.push(seen),
            Err(what) => {
                let replay = format!("{SEED_VARIABLE}={seed} cargo test --test it simulator::random -- --nocapture");
                wrong.push(format!("SEED={seed}\n  replay: {replay}\n  {what}"));
            }
        }
    }
    let first = wrong.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {}:\n{first}", wrong.len(), good.len() + wrong.len());
    good
}

#[test]
fn no_template_whatever_makes_the_simulator_fail() {
    simulated(fast(), async |world| {
        assert!(!all(&world, DISFIGURED, survived).await.is_empty());
        world
    });
}

#[test]
fn random_templates_are_accepted_and_refused_by_the_place_that_is_wrong() {
    simulated(fast(), async |world| {
        let lives = all(&world, TEMPLATES, lived).await;
        let kinds: std::collections::BTreeSet<_> = lives.iter().flatten().collect();
        assert!(lives.len() == 1 || kinds.len() == damage::KINDS.len(), "each kind of damage is done: {kinds:?}");
        world
    });
}
