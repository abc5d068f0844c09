//! Queues: how messages are received, kept, deleted and left, shown of the real binary and two stand-ins for SQS, moto and
//! our own simulator. FIS is the simulator in both cases.

mod failing;
mod hints;
mod order;
mod samples;
mod scene;
mod work;

/// Shows each rule against both stand-ins.
macro_rules! shown_of_both {
    ($($rule:ident)*) => {
        mod simulator {
            $(#[test] fn $rule() { super::$rule(&crate::queue::scene::Scene::simulator()) })*
        }
        mod moto {
            $(#[test] fn $rule() { super::$rule(&crate::queue::scene::Scene::moto()) })*
        }
    };
}
pub(crate) use shown_of_both;
