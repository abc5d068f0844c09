//! Random templates over the whole catalogue: a valid one is accepted, one with a single thing wrong is refused.
//!
//! [`draw`] makes valid templates and [`damage`] breaks them. A seed names a template and its damage.

mod damage;
pub(super) mod draw;

use super::{
    wire::{Wire, on_wire},
    *,
};
use crate::sim::chance::Chance;

/// Names the one seed to run.
const SEED_VARIABLE: &str = "FIREDRILL_TEMPLATE_SEED";

const TEMPLATES: u64 = 5_000;

/// Clients that send at the same time.
const CLIENTS: u64 = 4;

/// Sends the template of a seed, of an odd one damaged; returns the damage, or what went wrong.
fn lived(wire: &Wire, seed: u64) -> Result<Option<&'static str>, String> {
    let mut chance = Chance::new(seed);
    let mut body = draw::template(&mut chance);
    body["clientToken"] = json!(format!("seed-{seed}"));
    if seed.is_multiple_of(2) {
        let created = wire.call("POST", "/experimentTemplates", &body);
        let id = created.body["experimentTemplate"]["id"].as_str().unwrap_or_default();
        let deleted = wire.call("DELETE", &format!("/experimentTemplates/{id}"), &Value::Null);
        let fits = created.status == 200 && deleted.body == created.body;
        return if fits { Ok(None) } else { Err(format!("{created:?} and {deleted:?} for valid {body}")) };
    }
    let damage = damage::applied(&mut body, &mut chance);
    let refused = wire.call("POST", "/experimentTemplates", &body);
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

#[test]
fn no_template_whatever_makes_the_simulator_fail() {
    simulated(fast(), async |world| {
        on_wire(&world, |wire| {
            for seed in 0..1_000 {
                let mut chance = Chance::new(seed);
                let mut body = draw::template(&mut chance);
                body["clientToken"] = json!(format!("seed-{seed}"));
                disfigured(&mut body, &mut chance);
                // A list or a string is no request at all.
                let reply = if body.is_object() { wire.call("POST", "/experimentTemplates", &body) } else { continue };
                assert!([200, 400, 402].contains(&reply.status), "seed {seed}: {reply:?} for {body}");
                if let Some(id) = reply.body["experimentTemplate"]["id"].as_str() {
                    wire.call("DELETE", &format!("/experimentTemplates/{id}"), &Value::Null);
                }
            }
        })
        .await;
        world
    });
}

#[test]
fn random_templates_are_accepted_and_refused_by_the_place_that_is_wrong() {
    let one = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse::<u64>().expect("a seed is a number"));
    let seeds = one.map_or(0..TEMPLATES, |seed| seed..seed + 1);
    let count = seeds.end - seeds.start;
    simulated(fast(), async |world| {
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let own = seeds.clone().filter(move |seed| seed % CLIENTS == client);
            clients.push(on_wire(&world, move |wire| own.map(|seed| (seed, lived(wire, seed))).collect::<Vec<_>>()));
        }
        let lives: Vec<_> = futures_util::future::join_all(clients).await.into_iter().flatten().collect();
        assert_eq!(lives.len() as u64, count);
        let wrong = lives.iter().filter_map(|(seed, life)| Some((seed, life.as_ref().err()?)));
        let wrong: Vec<_> = wrong
            .map(|(seed, what)| {
                let replay = format!("{SEED_VARIABLE}={seed} cargo test --test it simulator::random -- --nocapture");
                format!("SEED={seed}\n  replay: {replay}\n  {what}")
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.iter().take(3).cloned().collect::<String>());
        let kinds: std::collections::BTreeSet<_> =
            lives.iter().filter_map(|(_, life)| life.as_ref().ok()?.as_ref()).collect();
        assert!(count == 1 || kinds.len() == damage::KINDS.len(), "each kind of damage is done: {kinds:?}");
        world
    });
}
