//! Memory that the allocator holds although nothing uses it.
//!
//! glibc keeps freed pages for the thread that freed them: each thread that ever folded manifests would hold what that
//! took at its highest. Owns giving them back. It must never be asked where records pass: the allocator's locks are held
//! for some milliseconds.

use std::convert::Infallible;
use std::time::Duration;

/// Folds come once in many commits; a process whose memory goes down a little later is as good.
const EVERY: Duration = Duration::from_secs(15);

/// Gives free pages back to the system, again and again.
pub(crate) async fn give_back() -> Infallible {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        trim();
    }
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "the allocator has no other door")]
fn trim() {
    // SAFETY: it takes no pointer, and locks each arena as `malloc` does. That there was nothing to give is no fault.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves, or can't be asked.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
