//! What time means: seconds on the wall, or seconds that this thread ran.

use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    Wall,
    Thread,
}

impl Clock {
    /// Seconds that `work` takes.
    pub fn time(self, work: impl FnOnce()) -> f64 {
        match self {
            Self::Wall => {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64()
            }
            Self::Thread => {
                let start = thread_seconds();
                work();
                thread_seconds() - start
            }
        }
    }
}

/// CPU time of the calling thread.
fn thread_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; the clock exists wherever POSIX threads do, and leaves zeros if not.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
