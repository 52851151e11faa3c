//! A rank's MPI life: start, panics, end.

use super::requests::failure;
use crate::error::TransportError;
use crate::message::Ending;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::{Communicator, SimpleCommunicator};
use std::os::raw::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Exit code of a rank that panicked: a bug of ours.
pub const PANIC_CODE: i32 = 70;

/// This process's rank, for [`abort`].
static RANK: AtomicUsize = AtomicUsize::new(0);

/// An initialized MPI, with a communicator of our own whose errors are returned, not fatal.
///
/// While a session lives, a panic on any thread of the rank prints its message and aborts the
/// whole job with [`PANIC_CODE`] (see [`abort`]): unwinding into `MPI_Finalize` would hang every other rank. Only a
/// worker's computation may panic: that is caught ([`crate::Engine::attempt`]) and reported.
pub struct Session {
    universe: Option<Universe>,
    comm: SimpleCommunicator,
}

impl Session {
    /// Initializes MPI (threads funneled through the calling thread) and installs the panic hook.
    ///
    /// The kernel is asked to kill this rank when its launcher dies, so no orphans are left.
    ///
    /// # Errors
    /// If MPI was initialized before, or offers less than `MPI_THREAD_FUNNELED`.
    pub fn start() -> Result<Self, TransportError> {
        let (universe, provided) =
            mpi::initialize_with_threading(Threading::Funneled).ok_or_else(|| {
                TransportError::Initialization("MPI was initialized before".to_owned())
            })?;
        if provided < Threading::Funneled {
            return Err(TransportError::Initialization(format!(
                "the library provides {provided:?}, MPI_THREAD_FUNNELED is needed"
            )));
        }
        let comm = universe.world().duplicate();
        // SAFETY: a valid communicator and a predefined handler.
        let code = unsafe { ffi::MPI_Comm_set_errhandler(comm.as_raw(), ffi::RSMPI_ERRORS_RETURN) };
        if code != ffi::MPI_SUCCESS as c_int {
            return Err(failure("MPI_Comm_set_errhandler", usize::MAX, code));
        }
        RANK.store(comm.rank() as usize, Ordering::Relaxed);
        die_with_the_launcher();
        abort_on_panic();
        Ok(Self {
            universe: Some(universe),
            comm,
        })
    }

    /// This rank.
    pub fn rank(&self) -> usize {
        self.comm.rank() as usize
    }

    /// Number of ranks.
    pub fn size(&self) -> usize {
        self.comm.size() as usize
    }

    /// The MPI library's own description, first line.
    pub fn library(&self) -> String {
        mpi::environment::library_version()
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .unwrap_or_else(|_| "unknown".to_owned())
    }

    /// The host this rank runs on.
    pub fn host(&self) -> String {
        mpi::environment::processor_name().unwrap_or_else(|_| "unknown".to_owned())
    }

    /// This rank's position among the ranks of its host, and how many they are. Collective.
    pub fn local(&self) -> (usize, usize) {
        let node = self.comm.split_shared(self.comm.rank());
        (node.rank() as usize, node.size() as usize)
    }

    pub(super) fn raw(&self) -> ffi::MPI_Comm {
        self.comm.as_raw()
    }

    /// Ends this rank's part in the job and exits the process.
    ///
    /// After [`Ending::Clean`] MPI is finalized. After [`Ending::Lost`] it cannot be (Finalize
    /// waits for the lost): workers exit at once, and the master, a moment later, aborts what is
    /// left of the job with the run's code.
    pub fn end(mut self, ending: Ending) -> ! {
        match ending {
            Ending::Clean(code) => {
                drop(self.universe.take());
                std::process::exit(i32::from(code))
            }
            Ending::Lost(code) if self.rank() == 0 => {
                std::thread::sleep(std::time::Duration::from_millis(500));
                abort(i32::from(code))
            }
            // SAFETY: ends the process without running MPI's exit handlers, which could hang.
            Ending::Lost(_) => unsafe { libc::_exit(0) },
        }
    }
}

/// Ends the whole job now; where the launcher lets single ranks die, a worker's rank ends itself alone.
///
/// There `MPI_Abort` of a worker neither ends the job nor lets mpirun (Open MPI 4.1) end in order; a
/// rank that dies of a signal does what such launchers are made for.
pub fn abort(code: i32) -> ! {
    if RANK.load(Ordering::Relaxed) > 0 && ranks_may_die() {
        eprintln!("gradcode: this rank ends; the job goes on without it");
        crate::faults::kill_this_process();
    }
    // SAFETY: MPI is initialized wherever a session exists; the call does not return.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    std::process::exit(code)
}

/// Whether the launcher said that the job goes on when a rank dies: Open MPI 4.1 with
/// `--enable-recovery`, Open MPI 5 with `--with-ft ulfm`.
fn ranks_may_die() -> bool {
    ["OMPI_MCA_orte_enable_recovery", "OMPI_MCA_mpi_ft_enable"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| value == "1" || value == "true"))
}

fn die_with_the_launcher() {
    // SAFETY: prctl with these arguments only sets a flag of the process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if crate::guard::caught(info) {
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                print(info);
            }
            return;
        }
        print(info);
        eprintln!("gradcode: this is a bug; aborting with code {PANIC_CODE}");
        abort(PANIC_CODE)
    }));
}
