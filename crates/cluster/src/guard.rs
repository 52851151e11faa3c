//! Panics that are caught: those of a worker's computation, which another try may survive.
//!
//! A panic hook runs before anybody knows whether the panic will be caught, so a hook that ends the
//! process has to ask [`caught`] first.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static HERE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Guarded computations under way in this process.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
/// What a thread of the computing pool panicked with, on behalf of a guarded computation.
static ELSEWHERE: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic in it becomes its message and, if the hook asked [`caught`], its place.
///
/// What `work` was changing may be left half changed: discard it or make it anew.
pub fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let before = ARMED.replace(true);
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
    let result = catch_unwind(AssertUnwindSafe(work));
    UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    ARMED.set(before);
    result.map_err(|payload| {
        let elsewhere = || {
            ELSEWHERE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let noted = HERE.with_borrow_mut(Option::take).or_else(elsewhere);
        noted.unwrap_or_else(|| message(&*payload))
    })
}

/// For panic hooks: whether this panic is going to be caught by `guarded`, so that the process
/// must not be ended for it. Notes the message and the place for whoever catches it.
///
/// A thread of rayon's pool counts while a guarded computation is under way: rayon hands its panic
/// to the thread that waits for the result.
pub fn caught(panic: &PanicHookInfo<'_>) -> bool {
    let here = ARMED.get();
    let on_behalf = rayon::current_thread_index().is_some() && UNDER_WAY.load(Ordering::SeqCst) > 0;
    if !here && !on_behalf {
        return false;
    }
    let text = match panic.location() {
        Some(place) => format!("{} ({place})", message(panic.payload())),
        None => message(panic.payload()),
    };
    if here {
        HERE.set(Some(text));
    } else {
        *ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
    true
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 3), Ok(3));
        let number = 7;
        let result = guarded(|| -> u8 { panic!("number {number}") });
        assert!(result.unwrap_err().contains("number 7"));
        assert!(!ARMED.get());
    }

    #[test]
    fn a_panic_in_the_pool_reaches_the_guard() {
        use rayon::prelude::*;
        let broken = guarded(|| {
            (0..100)
                .into_par_iter()
                .for_each(|i| assert!(i != 50, "item {i}"));
        });
        assert!(broken.unwrap_err().contains("item 50"));
    }
}
