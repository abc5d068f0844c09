//! Waiting: between now and the next wake-up the planner has nothing to say, and then it has, or asks again later.
