//! What must hold in every world.
use super::world::World;
pub fn broken(world: &World) -> Vec<String> { let mut b=world.broken.clone(); b.extend(world.store.with(|t| t.broken.clone())); b }
